"""`segrt demo`: the whole walk on a bundled network and bundled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from segrt.cli import _options

if TYPE_CHECKING:
    from segrt.demo.walk import Walk


@click.command(
    short_help="The whole walk on a bundled network and images.",
    epilog="""\b
Examples:
  segrt demo
  segrt demo -o somewhere --target openvino --threads 2
""",
)
@click.option(
    "-o",
    "--output",
    type=_options.FOLDER,
    default="demo-output",
    show_default=True,
    help="Folder for the package, the masks and the pictures.",
)
@click.option("--target", default="cpu", show_default=True, help="What to build for.")
@_options.threads
def command(output: Path, target: str, threads: int | None) -> int:
    """Take a bundled U-Net from its Keras file to verified masks.

    The network was trained with Keras on synthetic images of cells. Nothing of Keras is needed
    here: what it computed in every layer was recorded, and the comparison is with that.
    Exit code 1 when the comparison does not hold.
    """
    from segrt.cli import _console
    from segrt.demo import walk

    notes = _console.notes()
    done = walk.run(
        output, target=target, threads=threads,
        tell=lambda step: notes.print(f"{step} ...", style="dim"),
    )  # fmt: skip
    show(done)
    return 0 if done.ok else 1


def show(done: Walk) -> None:
    """Print the walk: network, package, proof, masks."""
    from segrt.cli import _console, build, inspect
    from segrt.verification.report_table import render

    console = _console.results()
    console.rule("1. inspect: the Keras file")
    console.print(inspect.head_text(done.summary), markup=False)
    console.rule("2. build: the package")
    build.show(done.package)
    console.rule("3. verify: every layer against what Keras computed")
    console.print(render(done.report))
    console.rule("4. predict: masks of the test images")
    table = _console.table("Against the truth", "image", ">IoU", ">pixels right")
    for score in done.scores:
        table.add_row(score.image, f"{score.iou:.4f}", f"{score.accuracy:.2%}")
    if done.scores:
        mean = sum(score.iou for score in done.scores) / len(done.scores)
        table.add_row("mean", f"{mean:.4f}", "", style="bold")
    console.print(table)
    times = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in done.seconds.items())
    console.print(f"took: {times}", markup=False)
    console.print(f"package   {done.package.path}", markup=False, soft_wrap=True)
    console.print(f"masks     {done.sheet.parent / 'masks'}", markup=False, soft_wrap=True)
    console.print(f"look at   {done.sheet}", style="bold", markup=False, soft_wrap=True)
