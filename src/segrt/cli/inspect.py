"""`segrt inspect`: what a model file holds, and how its upsampling can be computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segrt.cli import _ops, _options
from segrt.cli._foreign import comparison_table, comparison_text, suspects_text

if TYPE_CHECKING:
    import onnx_ir as ir
    from rich.table import Table

    from segrt.graph.summary import ModelSummary
    from segrt.importers._weight_listing import WeightListing
    from segrt.passes.upsampling._base import SitePlan


@click.command(
    short_help="Show what a trained model file holds.",
    epilog="""\b
Examples:
  segrt inspect unet.h5
  segrt inspect unet.h5 --upsampling
  segrt inspect unet.h5 --upsampling --target openvino
  segrt inspect unet.weights.h5 --weights         what lies in the file, whatever the layers
  segrt inspect unet.segrt --engine               what each layer became in a built engine
  segrt inspect unet.h5 --json > unet.json
  segrt inspect foreign.onnx --compare unet.h5    which node says something else than Keras
""",
)
@click.argument("model", type=_options.MODEL)
@_options.loading
@click.option(
    "--upsampling",
    is_flag=True,
    help="For each upsampling layer: which forms are exact, which one is taken, and why.",
)
@click.option(
    "--target", default="cpu", show_default=True, help="Whose favourite forms --upsampling shows."
)
@click.option(
    "--weights",
    is_flag=True,
    help="List groups, arrays, shapes and axes as they lie in the file; no layer need be known.",
)
@click.option(
    "--stub",
    type=_options.OUTPUT_FILE,
    metavar="FILE.py",
    help="Write a converter to fill in for every class that is not known, and nothing else.",
)
@click.option(
    "--engine",
    is_flag=True,
    help="MODEL is a package: show the kernels of each layer, their types, and needless copies.",
)
@click.option(
    "--compare",
    type=_options.FILE,
    metavar="KERAS",
    help="Run MODEL and this Keras file on the same input and name the nodes that differ. "
    "--architecture, --layer and --lambda are then about this file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_ops.ops
def command(
    *,
    model: Path,
    loading: _options.Loading,
    upsampling: bool,
    target: str,
    weights: bool,
    stub: Path | None,
    engine: bool,
    compare: Path | None,
    as_json: bool,
) -> int:
    """Show the layers, shapes and weights of a trained model file, without Keras.

    With --compare the exit code is 1 when the models differ.
    """
    from segrt import api
    from segrt.cli import _console, _engine_view
    from segrt.graph.summary import summarise
    from segrt.passes._suspects import find_suspects

    if engine:
        _engine_view.show(model, as_json=as_json)
        return 0
    if weights:
        show_weights(api.list_weights(model), as_json=as_json)
        return 0
    if stub is not None:
        write_stub(model, loading, stub)
        return 0
    if compare is not None:
        theirs, ours = _of_each(loading)
        loaded = api.load(model, **theirs)
        return show_comparison(loaded, api.load(compare, **ours), as_json=as_json)
    loaded = api.load(model, **loading)
    summary = summarise(loaded)
    plans = api.plan_upsampling(loaded, target=target) if upsampling else ()
    foreign = summary.source is not None and not summary.source.keras_version
    suspects = find_suspects(loaded) if foreign else []
    if as_json:
        described = {
            **asdict(summary), "parameters": summary.parameters, "classes": summary.classes,
        }  # fmt: skip
        if upsampling:
            described["upsampling"] = [asdict(plan) for plan in plans]
        if foreign:
            described["suspects"] = [asdict(finding) for finding in suspects]
        _console.write_json(described)
        return 0
    console = _console.results()
    if upsampling:
        console.print(upsampling_table(plans))
    else:
        console.print(layer_table(summary))
    console.print(head_text(summary), markup=False)
    for remark in summary.remarks:
        _console.notes().print(f"remark: {remark}", style="yellow", markup=False)
    if suspects:
        console.print(suspects_text(suspects), style="yellow", markup=False)
    return 0


def show_comparison(foreign: ir.Model, keras: ir.Model, *, as_json: bool) -> int:
    """Print how a foreign model differs from Keras'; return the exit code."""
    from segrt.cli import _console
    from segrt.verification.foreign import compare_foreign

    report = compare_foreign(foreign, keras)
    if as_json:
        _console.write_json(report.to_dict())
    else:
        _console.results().print(comparison_table(report))
        style = "bold green" if report.ok else "bold red"
        _console.results().print(comparison_text(report), style=style, markup=False)
    return 0 if report.ok else 1


def write_stub(model: Path, loading: _options.Loading, output: Path) -> None:
    """Write the converters that a model lacks, to be filled in.

    Raises:
        UsageError: It lacks none, or the file exists.
    """
    from segrt import api
    from segrt.cli import _console
    from segrt.errors import UnsupportedLayerError, UsageError

    if output.exists():
        raise UsageError(f"{output} exists", hint="give another name; nothing is overwritten")
    try:
        api.load(model, **loading)
    except UnsupportedLayerError as error:
        if not error.stub:
            raise
        output.write_text(error.stub, "utf-8")
        _console.notes().print(
            f"{output} written: fill it in, then add --layer {output}", markup=False
        )
        return
    raise UsageError(f"{model.name} has no layer without a converter", hint="leave --stub out")


def head_text(summary: ModelSummary) -> str:
    """Return where the model came from and how large it is, one fact a line."""
    from segrt.cli._console import shape_text

    source = summary.source
    lines = []
    if source is not None:
        lines.append(
            f"{source.file}: {source.model_name!r}, {source.format}, "
            + (f"Keras {source.keras_version} " if source.keras_version else "")
            + f"({source.backend})"
        )
    lines += [f"input   {name}: {shape_text(shape)}" for name, shape in summary.inputs]
    lines += [f"output  {name}: {shape_text(shape)}" for name, shape in summary.outputs]
    counted = ", ".join(f"{count} {name}" for name, count in summary.classes.items())
    lines.append(f"{summary.parameters:,} parameters in {len(summary.layers)} values: {counted}")
    return "\n".join(lines)


def layer_table(summary: ModelSummary) -> Table:
    """Return the table of all Keras values."""
    from segrt.cli import _console

    table = _console.table("Layers", "value", "class", "shape", ">parameters", ">nodes")
    for layer in summary.layers:
        table.add_row(
            layer.name,
            layer.class_name or "(input)",
            _console.shape_text(layer.shape),
            f"{layer.parameters:,}" if layer.parameters else "",
            str(layer.nodes),
        )
    return table


def upsampling_table(plans: Sequence[SitePlan]) -> Table:
    """Return the table of every upsampling layer and form."""
    from segrt.cli import _console

    table = _console.table(
        "Upsampling" if plans else "No upsampling layers",
        "layer", "kind", "factor", "form", "exact", "shown by", "why",
    )  # fmt: skip
    for plan in plans:
        layer: tuple[str, str, str] = (
            plan.layer, plan.kind, " x ".join(map(str, plan.factors)),
        )  # fmt: skip
        for option in plan.options:
            taken = option.form == plan.chosen
            proof = option.certificate
            shown = f"{proof.method}: {proof.error:.1e} of {proof.bound:.1e}" if proof else ""
            table.add_row(
                *layer,
                f"{option.form}  <- taken" if taken else option.form,
                proof.claim if proof else ("yes" if option.exact else "no"),
                shown,
                plan.why if taken else option.reason,
                style="bold green" if taken else "" if option.exact else "dim",
            )
            layer = ("", "", "")
        table.add_section()
    return table


def _of_each(loading: _options.Loading) -> tuple[_options.Loading, _options.Loading]:
    """Return how a foreign model is read, and the Keras file that it is compared with."""
    nothing: _options.Loading = {
        "architecture": None, "layers": (), "lambdas": (), "outputs": (), "inputs": (),
    }  # fmt: skip
    foreign: _options.Loading = {
        **nothing, "outputs": loading["outputs"], "inputs": loading["inputs"],
    }  # fmt: skip
    return foreign, {**loading, "outputs": (), "inputs": ()}


def show_weights(listing: WeightListing, *, as_json: bool) -> None:
    """Print what lies in a file."""
    from segrt.cli import _console

    if as_json:
        _console.write_json(asdict(listing))
        return
    table = _console.table(
        listing.file, "array", "layer", "class", "shape", "axes", "type", ">bytes"
    )
    for array in listing.arrays:
        table.add_row(
            array.path,
            array.layer,
            array.class_name,
            " x ".join(map(str, array.shape)) or "scalar",
            array.layout,
            array.dtype,
            f"{array.stored_bytes:,}",
        )
    console = _console.results()
    console.print(table)
    total = sum(array.stored_bytes for array in listing.arrays)
    console.print(
        f"{len(listing.groups)} groups, {len(listing.arrays)} arrays, {total:,} bytes",
        markup=False,
    )
