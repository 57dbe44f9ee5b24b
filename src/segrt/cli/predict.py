"""`segrt predict`: masks of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from segrt.cli import _ops, _options

if TYPE_CHECKING:
    from segrt.prediction.options import Product
    from segrt.prediction.report import PredictReport


@click.command(
    short_help="Write the masks of images.",
    epilog="""\b
Examples:
  segrt predict -m unet.segrt -i images -o masks
  segrt predict -m unet.segrt -i scans/*.tif -o masks --save overlay,prob
  segrt predict -m unet.segrt -i slide.tif -o masks --tile 512 --overlap 64
""",
)
@click.option(
    "-m", "--model", "package", required=True, type=_options.MODEL, help="Package to run."
)
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    type=_options.ANY,
    help="Image or folder of images (PNG, JPEG, BMP, TIFF); may be repeated. More may follow "
    "without -i.  [required]",
)
@click.argument("more", nargs=-1, type=_options.ANY, metavar="[IMAGE]...")
@click.option(
    "-o", "--output", required=True, type=_options.FOLDER, help="Folder to write masks to."
)
@click.option(
    "--tile",
    type=_options.COUNT,
    metavar="N",
    help="Side of the tiles in pixels.  [default: the network's size, or the whole image]",
)
@click.option(
    "--overlap",
    type=click.IntRange(min=0),
    metavar="N",
    help="Least overlap of neighbouring tiles in pixels.  [default: an eighth of the tile]",
)
@click.option(
    "--save",
    type=_options.some_of("mask", "overlay", "prob"),
    metavar="WORD[,WORD]",
    default="mask",
    show_default=True,
    help="What to write besides the mask: overlay and prob are pictures to look at.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="For networks with one output channel: the mask is above it.",
)
@click.option(
    "--batch",
    type=_options.COUNT,
    metavar="N",
    default=1,
    show_default=True,
    help="Tiles run at once.",
)
@_options.threads
@_options.device
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no remarks.")
@_ops.ops
def command(
    *,
    package: Path,
    inputs: tuple[Path, ...],
    more: tuple[Path, ...],
    output: Path,
    tile: int | None,
    overlap: int | None,
    save: tuple[str, ...],
    threshold: float,
    batch: int,
    threads: int | None,
    quiet: bool,
) -> int:
    """Write the masks of images.

    An image that fails is reported and the others are finished; the exit code is then 1.
    """
    from segrt import api
    from segrt.prediction.options import PredictOptions

    options = PredictOptions(
        tile=tile,
        overlap=overlap,
        threshold=threshold,
        # The mask is what the verb is for: `--save overlay` adds to it.
        save=cast("tuple[Product, ...]", tuple(dict.fromkeys(("mask", *save)))),
        batch=batch,
    )
    images = [*inputs, *more]
    if not images:
        raise click.UsageError("Missing option '-i' / '--input'.", click.get_current_context())
    with _Progress(quiet) as progress:
        report = api.predict(
            package,
            images,
            output,
            threads=threads,
            options=options,
            progress=progress.update,
        )
    show(report, output, quiet=quiet)
    return 1 if report.failed else 0


def show(report: PredictReport, output: Path, *, quiet: bool) -> None:
    """Print failures and remarks to stderr, the summary to stdout."""
    from segrt.cli import _console

    notes = _console.notes()
    for result in report.failed:
        # Most messages name the file already.
        named = result.source.name in str(result.error)
        where = "" if named else f"{result.source}: "
        notes.print(f"failed: {where}{result.error}", style="red", markup=False)
    for remark in [] if quiet else [*report.remarks, *_gathered(report)]:
        notes.print(f"remark: {remark}", style="yellow", markup=False)
    done = len(report.results) - len(report.failed)
    speed = report.pixels / report.seconds / 1e6 if report.seconds else 0.0
    click.echo(
        f"{done} of {len(report.results)} images in {report.seconds:.2f} s "
        f"({speed:.2f} megapixels a second) -> {output}"
    )


def _gathered(report: PredictReport) -> list[str]:
    """Say each remark once, with the first of the images that it is about."""
    about: dict[str, list[str]] = {}
    for result in report.results:
        for remark in result.remarks:
            about.setdefault(remark, []).append(result.source.name)
    return [
        names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "") + f": {remark}"
        for remark, names in about.items()
    ]


class _Progress:
    """A progress bar on stderr; nothing where stderr is no terminal."""

    def __init__(self, quiet: bool) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        from segrt.cli import _console

        console = _console.notes()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
            console=console, transient=True, disable=quiet or not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("reading", total=None)

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._bar.stop()

    def update(self, finished: int, total: int, result: object) -> None:
        """Show that an image is finished."""
        name = getattr(getattr(result, "source", None), "name", "")
        self._bar.update(self._task, completed=finished, total=total, description=name)
