"""Put every case of every CUDA kernel through NVIDIA's compute-sanitizer; needs a GPU.

    PYTHONPATH=src python tools/sanitize_kernels.py
    PYTHONPATH=src python tools/sanitize_kernels.py --tools memcheck,racecheck --kernels opening,dot

Runs the cases of `tests/unit/cuda/test_kernels_run.py`, without comparing what they compute, once a
tool: memcheck (out of bounds, misaligned), racecheck (shared memory), initcheck (memory read before
it was written) and synccheck (barriers). First each tool is shown a kernel with an error of its
kind: if it does not see that, it says nothing about the others. Prints what was found by kernel,
and ends with 1 if anything was, if a case did not end within ``--seconds``, or if a run broke off;
with 4 where compute-sanitizer, which is part of the CUDA toolkit, or a GPU is not there.

All cases are small. The four tools beside each other took 53 seconds on an H200, after some 200
sources were compiled in 7. They found nothing; what to think of findings before a kernel is blamed:

- initcheck: every byte that a case may read is written by a copy from the host first, what lies
  between slices included, so a finding counts.
- racecheck: it follows ``__syncthreads`` and ``bar.sync``. The kernels for Hopper order shared
  memory by mbarriers, and bulk copies and ``wgmma`` access it beside the threads: a hazard between
  such an access and a thread's, within one of those kernels, may be none. In any other kernel a
  hazard counts.
- memcheck: bulk tensor copies reach over an image's edges by design, where they give zeros.
- synccheck: only the computing warps of a Hopper kernel meet at its named barriers, and warps
  without work leave early; a finding says so by the barrier's number (1 to 4).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
# What the sanitizer ends with if it found something; no other part of a run does.
FOUND = 86
_CASE = re.compile(r"^case ([\w-]+) (\d+)$")
# A finding's first line; what belongs to it is indented, headlines of other programs are longer.
_FINDING = re.compile(r"(?<!=)={9} (\S.*[^=\s])\s*$")
_NO_FINDING = re.compile(r"COMPUTE-SANITIZER|(ERROR|RACECHECK|LEAK) SUMMARY|Target application")


@dataclass
class Report:
    """What a tool said.

    Attributes:
        cases: How many of each kernel were begun.
        findings: By kernel and the first line of what was found: how often.
        ended: Whether all cases were run to their end.
    """

    cases: Counter[str] = field(default_factory=Counter)
    findings: Counter[tuple[str, str]] = field(default_factory=Counter)
    ended: bool = False


def read_report(lines: Iterable[str]) -> Report:
    """Read what a run under the sanitizer printed."""
    report, kernel = Report(), "before the first case"
    for line in lines:
        case, finding = _CASE.match(line.strip()), _FINDING.search(line)
        if case:
            kernel = case[1]
            report.cases[kernel] += 1
        elif line.strip() == "all cases ended":
            report.ended = True
        elif finding and not _NO_FINDING.match(finding[1]):
            report.findings[kernel, finding[1]] += 1
    return report


def run_cases(names: list[str]) -> None:
    """Run the cases one after the other, saying which; this is what the sanitizer watches."""
    from helpers.gpu_cases import run_case, runs_on
    from helpers.planted_kernels import run_planted
    from segrt.cuda.driver import Gpu
    from segrt.cuda.kernels._base import REGISTRY

    gpu = Gpu()
    for tool in (name.removeprefix("planted-") for name in names if name.startswith("planted-")):
        print(f"case planted-{tool} 0", flush=True)
        run_planted(gpu, tool)
    for name, kernel in REGISTRY:
        for index, spec in enumerate(kernel.cases if name in names else ()):
            if runs_on(gpu, kernel, kernel.launch(spec)):
                print(f"case {name} {index}", flush=True)
                run_case(gpu, kernel, spec)
    gpu.close()
    print("all cases ended", flush=True)


def sees_errors(sanitizer: str, tool: str, seconds: float) -> bool:
    """Say whether a tool finds the error that was planted for it."""
    name = f"planted-{tool}"
    return any(found == name for found, _ in sanitize(sanitizer, tool, [name], seconds).findings)


def compile_cases(names: list[str]) -> None:
    """Compile all sources side by side; they are found again in the cache of compiled kernels."""
    from helpers.gpu_cases import runs_on
    from segrt.cuda.driver import Gpu
    from segrt.cuda.kernels._base import REGISTRY

    gpu = Gpu()
    kernels = [kernel for name, kernel in REGISTRY if name in names]
    launches = [(kernel, kernel.launch(spec)) for kernel in kernels for spec in kernel.cases]
    gpu.compile(launch for kernel, launch in launches if runs_on(gpu, kernel, launch))
    gpu.close()


def sanitize(sanitizer: str, tool: str, names: list[str], seconds: float) -> Report:
    """Run all cases under one tool and read what it says."""
    command = [
        sanitizer, "--tool", tool, "--error-exitcode", str(FOUND), "--report-api-errors", "no",
        "--destroy-on-device-error", "kernel", "--print-limit", "200",
        sys.executable, __file__, "--run", "--kernels", ",".join(names),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        output, code = done.stdout + done.stderr, done.returncode
    except subprocess.TimeoutExpired as stopped:
        output, code = (stopped.stdout or b"").decode(errors="replace"), -1
        print(f"{tool}: stopped after {seconds:.0f} s")
    report = read_report(output.splitlines())
    report.ended = report.ended and code in (0, FOUND)
    if code == FOUND and not report.findings:
        report.findings["unknown", "the sanitizer found something, see above"] += 1
    if (report.findings or not report.ended) and not names[0].startswith("planted-"):
        print(output[-20000:])
    return report


def summary(reports: dict[str, Report]) -> list[str]:
    """Return a line for each kernel, then one for each kind of finding."""
    kernels = sorted({name for report in reports.values() for name in report.cases})
    lines = ["kernel".ljust(24) + "".join(tool.rjust(12) for tool in reports)]
    for kernel in kernels:
        cells = []
        for report in reports.values():
            count = sum(n for (name, _), n in report.findings.items() if name == kernel)
            clean = f"{report.cases[kernel]} clean" if report.cases[kernel] else "not run"
            cells.append(f"{count} FOUND" if count else clean)
        lines.append(kernel.ljust(24) + "".join(cell.rjust(12) for cell in cells))
    for tool, report in reports.items():
        lines += [f"{tool}: {k}: {what} ({n} x)" for (k, what), n in report.findings.items()]
        lines += [] if report.ended else [f"{tool}: did not run to its end"]
    return lines


def find_sanitizer() -> str | None:
    """Return where compute-sanitizer is."""
    places = [path / "bin" for path in sorted(Path("/usr/local").glob("cuda*"), reverse=True)]
    return shutil.which("compute-sanitizer") or next(
        filter(None, (shutil.which("compute-sanitizer", path=str(place)) for place in places)), None
    )


def main(arguments: list[str]) -> int:
    """Run the tools; return the exit code."""
    from segrt.cuda.driver import missing
    from segrt.cuda.kernels._base import REGISTRY

    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0] if __doc__ else "")
    parser.add_argument("--tools", default=",".join(TOOLS), help="which, with commas")
    parser.add_argument("--kernels", default=",".join(REGISTRY.names()), help="which, with commas")
    parser.add_argument("--seconds", type=float, default=240, help="for each tool")
    parser.add_argument("--sanitizer", default=find_sanitizer(), help="where compute-sanitizer is")
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names, tools = options.kernels.split(","), options.tools.split(",")
    if options.run:
        run_cases(names)
        return 0
    wrong = [name for name in names if name not in REGISTRY.names()]
    wrong += [tool for tool in tools if tool not in TOOLS]
    if wrong:
        parser.error(f"there is no {', '.join(wrong)}")
    problem = missing() or (None if options.sanitizer else "compute-sanitizer is not installed")
    if problem:
        print(problem)
        return 4
    blind = [t for t in tools if not sees_errors(options.sanitizer, t, options.seconds)]
    if blind:
        print(f"{', '.join(blind)}: a planted error was not found, so nothing would be proven")
        return 1
    compile_cases(names)
    reports = {tool: sanitize(options.sanitizer, tool, names, options.seconds) for tool in tools}
    print("\n".join(summary(reports)))
    return int(any(report.findings or not report.ended for report in reports.values()))


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]
    os.environ["PYTHONUNBUFFERED"] = "1"
    sys.exit(main(sys.argv[1:]))
