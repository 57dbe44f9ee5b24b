"""`segrt convert`: a trained model file to ONNX, or its weights for TensorRT."""

from __future__ import annotations

from pathlib import Path

import click

from segrt.cli import _ops, _options


@click.command(
    short_help="Convert a trained Keras file to ONNX, or its weights.",
    epilog="""\b
Examples:
  segrt convert unet.h5 -o unet.onnx
  segrt convert unet.keras -o unet.onnx --optimize
  segrt convert unet.weights.h5 --architecture unet.json -o unet.onnx
  segrt convert unet.h5 -o weights.safetensors            the weights alone, in TensorRT's order
""",
)
@click.argument("model", type=_options.MODEL)
@_options.loading
@click.option(
    "-o",
    "--output",
    required=True,
    type=_options.OUTPUT_FILE,
    help="File to write: .onnx, or .safetensors or .h5 for the weights alone.",
)
@click.option("--optimize", is_flag=True, help="Write the graph after the exact rewrites.")
@_ops.ops
def command(model: Path, loading: _options.Loading, output: Path, optimize: bool) -> None:
    """Convert a trained Keras file to ONNX, without Keras.

    MODEL is a full-model .h5, a .keras archive, or a file of weights together with --architecture.
    Names, axis order and types of the inputs and outputs are the model's own; every layer's output
    is a value under the layer's name.

    Weights alone are written as float32 arrays LAYER/WEIGHT: convolutions as O I H W (KCRS),
    transposed ones as I O H W (CKRS), depthwise ones as C*M 1 H W; axes, strides, pads and groups
    stand in the file's metadata (.safetensors) or attributes (.h5).
    """
    from segrt import api
    from segrt._outputs import check_output
    from segrt.cli import _console
    from segrt.graph import export_weights, metadata

    check_output(output, model, loading["architecture"])
    converted = api.convert(api.load(model, **loading), output, optimize=optimize)
    notes = _console.notes()
    for remark in metadata.remarks(converted):
        notes.print(f"remark: {remark}", style="yellow", markup=False)
    size = output.stat().st_size / 1e6
    if output.suffix.lower() in export_weights.SUFFIXES:
        count = len(export_weights.collect_weights(converted))
        click.echo(f"{output}: {count} arrays, {size:.1f} MB, in TensorRT's order")
        return
    kind = "rewritten" if optimize else "as imported"
    click.echo(f"{output}: {len(converted.graph)} nodes, {size:.1f} MB, {kind}")
