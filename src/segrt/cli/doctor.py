"""`segrt doctor`: what this machine has."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from segrt.cli import _ops, _options


@click.command(
    short_help="Show what this machine has and lacks.",
    epilog="""\b
Examples:
  segrt doctor
  segrt doctor unet.segrt      also run the package's own self-test here
  segrt doctor --json
""",
)
@click.argument("package", required=False, type=_options.MODEL)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_ops.ops
def command(package: Path | None, as_json: bool) -> int:
    """Show versions, targets and processor features, and what is missing.

    Exit code 4 when no target can run here.
    """
    from segrt.cli import _console
    from segrt.doctor import examine, selftest

    health = examine()
    tested = None if package is None else selftest(package)
    if as_json:
        extra = {} if package is None else {"selftest": tested}
        _console.write_json({**asdict(health), "ok": health.ok, **extra})
        return 0 if health.ok else 4
    console = _console.results()
    machine = _console.table("Machine", "", "")
    machine.show_header = False
    for name, text in health.machine.items():
        machine.add_row(name, text)
    console.print(machine)
    libraries = _console.table("Libraries", "package", "version")
    for name, version in health.libraries.items():
        libraries.add_row(name, version or "-", style="" if version else "dim")
    console.print(libraries)
    targets = _console.table("Targets", "target", "build", "run", "detail", "to do")
    for target in health.targets:
        targets.add_row(
            target.name,
            "yes" if target.can_build else "no",
            "yes" if target.can_run else "no",
            target.detail,
            target.hint,
            style="green" if target.can_run else "red",
        )
    console.print(targets)
    if tested is not None:
        console.print(f"{package}: self-test passed, {tested}", markup=False, soft_wrap=True)
    return 0 if health.ok else 4
