"""`segrt convert`: a trained model file to ONNX."""

from __future__ import annotations

from pathlib import Path

import click

from segrt.cli import _options


@click.command(
    short_help="Convert a trained Keras file to ONNX.",
    epilog="""\b
Examples:
  segrt convert unet.h5 -o unet.onnx
  segrt convert unet.keras -o unet.onnx --optimize
  segrt convert unet.weights.h5 --architecture unet.json -o unet.onnx
""",
)
@click.argument("model", type=_options.MODEL)
@_options.architecture
@click.option("-o", "--output", required=True, type=_options.OUTPUT_FILE, help="File to write.")
@click.option("--optimize", is_flag=True, help="Write the graph after the exact rewrites.")
def command(model: Path, architecture: Path | None, output: Path, optimize: bool) -> None:
    """Convert a trained Keras file to ONNX, without Keras.

    MODEL is a full-model .h5, a .keras archive, or a file of weights together with --architecture.
    Names, axis order and types of the inputs and outputs are the model's own; every layer's output
    is a value under the layer's name.
    """
    from segrt import api
    from segrt.cli import _console
    from segrt.graph import metadata

    converted = api.convert(model, output, architecture=architecture, optimize=optimize)
    notes = _console.notes()
    for remark in metadata.remarks(converted):
        notes.print(f"remark: {remark}", style="yellow", markup=False)
    size = output.stat().st_size / 1e6
    kind = "rewritten" if optimize else "as imported"
    click.echo(f"{output}: {len(converted.graph)} nodes, {size:.1f} MB, {kind}")
