"""The report as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from segrt.verification.metrics import Metrics
from segrt.verification.report import OutputRow, Report

_STYLES = {
    "ok": "green",
    "wrong": "bold red",
    "inherited": "red",
    "unmatched": "bold red",
    "fused": "dim",
    "left out": "dim",
}


def render(report: Report) -> RenderableType:
    """Return the whole report, to be printed on a `rich.console.Console`."""
    head = Text.assemble(
        ("subject    ", "dim"), report.subject, "\n",
        ("reference  ", "dim"), report.reference, "\n",
        ("precision  ", "dim"), f"{report.precision}, {report.images} image(s)",
    )  # fmt: skip
    remarks = [Text(f"remark: {remark}", style="yellow") for remark in report.remarks]
    verdict = Text(report.verdict, style="bold green" if report.ok else "bold red")
    return Group(head, _layers(report), _outputs(report), *remarks, verdict)


def _layers(report: Report) -> Table:
    table = Table(title="Layers", title_justify="left")
    table.add_column("layer", overflow="fold")
    table.add_column("class")
    for title in ("own rel L2", "rel L2", "max abs", "cosine", "MAPE %"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("note", overflow="fold")
    first = report.first_over_budget
    for row in report.rows:
        own = "" if row.own is None else _number(row.own.relative_l2)
        status = f"{row.status} (recovered)" if row.recovered else row.status
        table.add_row(
            escape(row.name),
            row.layer_class,
            own,
            *_figures(row.whole),
            Text(status, style=_STYLES[row.status]),
            escape(row.note),
            style="on grey15" if row is first else "",
        )
    return table


def _outputs(report: Report) -> Table:
    table = Table(title="Outputs of the deployed session", title_justify="left")
    table.add_column("output", overflow="fold")
    for title in ("rel L2", "max abs", "cosine", "MAPE %", "masks agree"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("IoU / Dice by class", overflow="fold")
    table.add_column("boundary band / elsewhere", overflow="fold")
    table.add_column("note", overflow="fold")
    for output in report.outputs:
        table.add_row(
            escape(output.name), *_figures(output.metrics), *_mask_cells(output),
            Text(output.note or "ok", style="bold red" if output.note else "green"),
        )  # fmt: skip
    return table


def _mask_cells(output: OutputRow) -> Iterator[str]:
    masks = output.masks
    if masks is None:
        yield from ("", "", "")
        return
    near = f" ({masks.undecided} px undecided)" if masks.undecided else ""
    yield f"{masks.agreement:.4%}{near}"
    pairs = zip(masks.iou, masks.dice, strict=True)
    yield "  ".join(f"{i}: {_share(a)} / {_share(b)}" for i, (a, b) in enumerate(pairs))
    band, elsewhere = _share(masks.band_error), _share(masks.elsewhere_error)
    yield f"{band} / {elsewhere} wrong ({masks.band_px} px)"


def _figures(metrics: Metrics | None) -> tuple[str, str, str, str]:
    if metrics is None or metrics.problem:
        return ("", "", "", "")
    return (
        _number(metrics.relative_l2),
        _number(metrics.max_abs),
        f"{metrics.cosine:.7f}",
        _number(metrics.mape),
    )


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.2e}"


def _share(value: float | None) -> str:
    return "absent" if value is None else f"{value:.4f}"
