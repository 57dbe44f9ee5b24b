"""The report as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from segrt.measurement.gauges._base import LayerTime
from segrt.measurement.report import BenchReport, Entry, LeftOut

# Rows of the table of layers that take less than this share are added up.
_SMALL = 0.002


def render(report: BenchReport) -> RenderableType:
    """Return the whole report, to be printed on a `rich.console.Console`."""
    parts: list[RenderableType] = [_head(report), _entries(report)]
    parts += [Text(left_out_text(entry), style="yellow") for entry in report.left_out]
    if report.layers:
        parts.append(_layers(report))
    if report.images is not None:
        parts.append(_images(report))
    parts += [Text(f"remark: {remark}", style="yellow") for remark in report.remarks]
    if not report.ok:
        text = "the package does not compute its network: see `segrt verify`"
        parts.append(Text(text, style="bold red"))
    return Group(*parts)


def _head(report: BenchReport) -> Text:
    shapes = ", ".join(
        f"{name} {' x '.join(map(str, shape))}" for name, shape in report.shapes.items()
    )
    threads = f", {report.threads} threads" if report.threads else ""
    saved = ""
    if report.lowered_operations != report.operations:
        saved = f" (the package computes it with {operations_text(report.lowered_operations)})"
    lines = [
        ("package  ", f"{report.package}, target {report.target}, {report.precision}"),
        ("device   ", f"{report.device}{threads}"),
        ("image    ", f"{shapes}: {operations_text(report.operations)}{saved}"),
    ]
    if report.ceiling.tflops:
        lines.append(("ceiling  ", f"{speed_text(report.ceiling.tflops)} ({report.ceiling.how})"))
    pieces = [piece for title, text in lines for piece in ((title, "dim"), (text, ""), ("\n", ""))]
    return Text.assemble(*pieces[:-1])


def _entries(report: BenchReport) -> Table:
    table = Table(title="Milliseconds a run", title_justify="left")
    table.add_column("batch", justify="right")
    table.add_column("what", overflow="fold")
    titles = ("p50", "p90", "p99", "images/s", "TFLOP/s", "ceiling", "MiB", "rel L2")
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("note", overflow="fold")
    batch = None
    for entry in report.entries:
        if batch is not None and entry.batch != batch:
            table.add_section()
        batch = entry.batch
        style = "bold" if entry.name == "segrt" else ""
        table.add_row(*cells(entry), style=style if entry.holds else "bold red")
    return table


def cells(entry: Entry) -> Iterator[str]:
    """Yield an entry's row."""
    yield str(entry.batch)
    yield entry.name
    for time_ms in (entry.times.p50, entry.times.p90, entry.times.p99):
        yield milliseconds(time_ms)
    yield f"{entry.images_per_second:.1f}"
    yield f"{entry.tflops:.3g}"
    yield "" if entry.ceiling_share is None else f"{entry.ceiling_share:.0%}"
    yield "" if entry.memory_bytes is None else f"{entry.memory_bytes / 2**20:.0f}"
    yield f"{entry.error:.1e}"
    yield entry.note


def left_out_text(entry: LeftOut) -> str:
    """Say which peer was not timed and why."""
    where = "" if entry.batch is None else f" at batch {entry.batch}"
    advice = f"  do: {entry.hint}" if entry.hint else ""
    return f"left out: {entry.name}{where}: {entry.why}{advice}"


def _layers(report: BenchReport) -> Table:
    whole = sum(row.time_ms for row in report.layers)
    title = f"Layers at batch {report.entries[0].batch}, {milliseconds(whole)} ms in all"
    table = Table(title=title, title_justify="left")
    table.add_column("layer", overflow="fold")
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("operation")
    table.add_column("how", overflow="fold")
    small: list[LayerTime] = []
    for row in report.layers:
        if row.time_ms < _SMALL * whole:
            small.append(row)
            continue
        name = " + ".join(row.layers) or "(between layers)"
        share = f"{row.time_ms / whole:.1%}"
        table.add_row(name, milliseconds(row.time_ms), share, row.operation, row.how)
    if small:
        rest = sum(row.time_ms for row in small)
        share = f"{rest / whole:.1%}" if whole else ""
        table.add_row(f"({len(small)} smaller ones)", milliseconds(rest), share, "", "")
    return table


def _images(report: BenchReport) -> Text:
    found = report.images
    assert found is not None
    return Text(
        f"from image files to mask files: {found.images_per_second:.1f} images a second "
        f"({found.images} images, {found.tiles} tiles, {found.batch} at once); one step after the "
        f"other, decoding takes {found.decoding:.0%}, inference {found.inference:.0%}, writing "
        f"{found.writing:.0%}"
    )


def milliseconds(time_ms: float) -> str:
    """Write a time with three digits that count."""
    return (
        f"{time_ms:.3f}"
        if time_ms < 10
        else f"{time_ms:.2f}"
        if time_ms < 100
        else f"{time_ms:.1f}"
    )


def operations_text(count: int) -> str:
    """Write a number of operations: ``109 GFLOP``."""
    return f"{count / 1e9:.3g} GFLOP" if count >= 1e8 else f"{count / 1e6:.3g} MFLOP"


def speed_text(tflops: float) -> str:
    """Write operations a second: ``734 TFLOP/s``, ``52.1 GFLOP/s``."""
    return f"{tflops:.3g} TFLOP/s" if tflops >= 1 else f"{tflops * 1e3:.3g} GFLOP/s"
