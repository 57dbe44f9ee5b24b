"""`segrt check`: can this release of TensorRT run my model?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from segrt.cli import _ops, _options

if TYPE_CHECKING:
    from rich.table import Table

    from segrt.checks._base import CheckReport, Ruling

_STYLES = {"supported": "", "rewritten": "cyan", "plugin": "yellow", "blocked": "bold red"}


@click.command(
    short_help="Say of each layer whether a TensorRT release runs it.",
    epilog="""\b
Examples:
  segrt check unet.h5 --target tensorrt:5.1
  segrt check unet.h5 --target tensorrt:8.6 --gpu 8.6
  segrt check unet.h5 --target jetpack:6.2 --fail-on plugin
  segrt check unet.h5 --target cpu
  segrt check unet.h5 --target rtx:1.7 --json
""",
)
@click.argument("model", type=_options.MODEL)
@_options.loading
@click.option(
    "--target",
    required=True,
    metavar="TARGET",
    help="tensorrt:VERSION, rtx:VERSION (TensorRT for RTX), jetpack:VERSION, cuda, or a CPU "
    "target: cpu, onnxruntime, openvino.",
)
@click.option(
    "--gpu", metavar="X.Y", help="Ask about a GPU too, by compute capability, such as 8.6."
)
@click.option(
    "--fail-on",
    type=click.Choice(["blocked", "plugin", "rewritten"]),
    help="Exit with code 1 if anything is as bad as this, or worse.",
)
@click.option("--all", "all_layers", is_flag=True, help="List the supported layers too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (always with all layers).")
@_ops.ops
def command(
    *,
    model: Path,
    loading: _options.Loading,
    target: str,
    gpu: str | None,
    fail_on: str | None,
    all_layers: bool,
    as_json: bool,
) -> int:
    """Say of each Keras layer whether a target runs it, without a GPU and without TensorRT.

    supported: a layer of TensorRT computes exactly this. rewritten: other layers do, and which.
    plugin: own CUDA code is needed. blocked: it cannot run there. Each answer has a stable id
    and a source.
    """
    from segrt import api
    from segrt.checks._base import Support
    from segrt.cli import _console

    report = api.check(api.load(model, **loading), target=target, gpu=gpu)
    if as_json:
        _console.write_json(report.to_dict())
    else:
        show(report, all_layers=all_layers)
    return 1 if fail_on is not None and report.fails(Support(fail_on)) else 0


def show(report: CheckReport, *, all_layers: bool) -> None:
    """Print a report."""
    from segrt.cli import _console

    console = _console.results()
    if all_layers or any(layer.support != "supported" for layer in report.layers):
        console.print(layer_table(report, all_layers=all_layers))
    for ruling in report.network:
        style = _STYLES[ruling.support]
        text = f"{ruling.support}  {ruling.rule}: {ruling.text} [{ruling.source}]"
        console.print(text, style=style, markup=False)
    counts = {
        support: sum(layer.support == support for layer in report.layers) for support in _STYLES
    }
    counted = ", ".join(f"{count} {support}" for support, count in counts.items() if count)
    console.print(
        f"{report.model} on {report.target}: {report.support} ({counted or 'no layers'})",
        style=_STYLES[report.support] or "green",
        markup=False,
    )
    for remark in report.remarks:
        _console.notes().print(f"remark: {remark}", style="dim", markup=False)


def layer_table(report: CheckReport, *, all_layers: bool) -> Table:
    """Return the table of the layers that are not simply supported, or of all."""
    from segrt.cli import _console

    shown = [layer for layer in report.layers if all_layers or layer.support != "supported"]
    table = _console.table(report.target, "layer", "class", "verdict", "rule", "what", "source")
    for layer in shown:
        names = (layer.layer, layer.class_name)
        for ruling in _told(layer.rulings, all_layers=all_layers):
            table.add_row(
                *names,
                ruling.support.value,
                ruling.rule,
                _escaped(ruling.text),
                _escaped(ruling.source),
                style=_STYLES[ruling.support],
            )
            names = ("", "")
    return table


def _told(rulings: tuple[Ruling, ...], *, all_layers: bool) -> list[Ruling]:
    return [ruling for ruling in rulings if all_layers or ruling.support != "supported"]


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
