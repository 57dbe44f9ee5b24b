"""`segrt bench`: how fast is a package, beside other ways to run its network?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from segrt.cli import _ops, _options, _progress, _sizes

if TYPE_CHECKING:
    from segrt.measurement.report import BenchReport


def batches(text: str) -> tuple[int, ...]:
    """Parse batch sizes: ``1,8,32``."""
    parts = _options.names(text)
    if not parts or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise click.BadParameter(f"{text!r} is not of the form 1,8,32")
    return tuple(dict.fromkeys(int(part) for part in parts))


def size(text: str) -> tuple[int, ...]:
    """Parse an image's sides: ``256x320``, or ``256`` for each of them."""
    sides = [side for side in _sizes.size(text) if isinstance(side, int)]
    if not sides:
        raise click.BadParameter(f"{text!r} is a range; one size is measured")
    return tuple(sides)


@click.command(
    short_help="Time a package, alone and beside other ways to run its network.",
    epilog="""\b
Examples:
  segrt bench unet.segrt
  segrt bench unet.segrt --against torch,torch.compile,jax,onnxruntime
  segrt bench unet.segrt --batches 1,8 --size 512 --layers
  segrt bench unet.segrt --against torch.compile:max-autotune --patience 1800
  segrt bench unet.segrt --images scans/ --json bench.json --markdown bench.md
""",
)
@click.argument("package", type=_options.MODEL)
@click.option(
    "--against",
    type=_options.names,
    metavar="PEER[,PEER...]",
    default="",
    help="torch, torch.compile, jax, onnxruntime, openvino: the same network, in the package's "
    "type of numbers. Those that are not installed are named and left out. torch.compile:MODE is "
    "another mode than its usual one (on a GPU reduce-overhead, on a CPU default).",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    default=120.0,
    show_default=True,
    help="How long a peer may take to get ready at a batch size; it is left out if it is not.",
)
@click.option(
    "--batches",
    type=batches,
    metavar="N[,N...]",
    help="Batch sizes.  [default: 1,8,32, or what the package takes of them]",
)
@click.option(
    "--size",
    type=size,
    metavar="HxW",
    help="Height and width, where the network leaves them free.  [default: about 256]",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help="How long to time each contender at each batch size.",
)
@click.option("--rounds", type=_options.COUNT, metavar="N", help="So many runs instead.")
@_options.threads
@click.option(
    "--layers", is_flag=True, help="Time each step of the engine as well, at the first batch size."
)
@click.option(
    "--images",
    type=_options.ANY,
    help="An image or a folder of images: time the way from these files to mask files as well.",
)
@click.option(
    "--json", "json_file", type=_options.OUTPUT_FILE,
    help="Write the report as JSON as well; - writes only that, to stdout.",
)  # fmt: skip
@click.option(
    "--markdown", "markdown_file", type=_options.OUTPUT_FILE,
    help="Write the times as a Markdown table as well.",
)  # fmt: skip
@_options.device
@_progress.verbose
@_ops.ops
def command(
    *,
    package: Path,
    against: tuple[str, ...],
    patience: float,
    batches: tuple[int, ...] | None,
    size: tuple[int, ...] | None,
    seconds: float,
    rounds: int | None,
    threads: int | None,
    layers: bool,
    images: Path | None,
    json_file: Path | None,
    markdown_file: Path | None,
) -> int:
    """Time a package, alone and beside other ways to run its network, in one run.

    Medians and percentiles, images and operations a second, the share of what a matrix product
    reaches on this machine, memory, and how far each one's output is from the network in fp32.
    Each batch size is told on stderr when it is done. Ctrl-C (or SIGTERM) ends it early: what was
    timed until then is still shown and written.

    Exit code 1 when the package's own output is another network's.
    """
    from segrt._outputs import check_report
    from segrt.measurement import bench as measurement

    for file in (json_file, markdown_file):
        if file is not None and str(file) != "-":
            check_report(file, images)

    def show(report: BenchReport) -> None:
        _show(report, json_file, markdown_file)

    report = measurement.bench(
        package,
        against=against,
        patience=patience,
        batches=batches,
        size=size,
        seconds=seconds,
        rounds=rounds,
        threads=threads,
        layers=layers,
        images=images,
        stopped=show,
    )
    show(report)
    return 0 if report.ok else 1


def _show(report: BenchReport, json_file: Path | None, markdown_file: Path | None) -> None:
    from segrt._outputs import write_text
    from segrt.cli import _console
    from segrt.measurement.markdown import to_markdown
    from segrt.measurement.report_table import render

    # First to the screen: a file that cannot be written must not cost the measurement.
    if str(json_file) != "-":
        _console.results().print(render(report))
    if json_file is not None:
        _console.write_json(report.to_dict(), json_file)
    if markdown_file is not None:
        write_text(markdown_file, to_markdown(report))
