"""`segrt build`: a model to a package that can be deployed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from segrt.cli import _ops, _options, _progress, _sizes

if TYPE_CHECKING:
    from segrt.targets._package import Package
    from segrt.types import Size, Verdict


@click.command(
    short_help="Build a package from a trained model.",
    epilog="""\b
Examples:
  segrt build unet.h5 -o unet.segrt
  segrt build unet.h5 -o unet.segrt --target openvino --precision bf16 --threads 4
  segrt build unet.h5 -o unet.segrt --batch 1 --size 512x512
  segrt build unet.h5 -o unet.segrt --target tensorrt-rtx --fallback cpu
  segrt build unet.h5 -o unet.segrt --ops my_layers.py           operations and layers of your own
  segrt build unet.h5 -o unet.segrt --target tensorrt-rtx --batch 1:4:16 --size 128:256:512
  segrt build unet.h5 -o unet.segrt --input uint8 --head mask
  segrt build unet.h5 -o unet.segrt --scale 1/255 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
""",
)
@click.argument("model", type=_options.MODEL)
@_options.loading
@click.option(
    "-o",
    "--output",
    required=True,
    type=_options.FOLDER,
    help="Package directory to write, such as unet.segrt. An older package there is replaced.",
)
@click.option(
    "--target",
    default="cpu",
    show_default=True,
    help="What to build for: onnxruntime, openvino, cpu (whichever is faster here), cuda, "
    "tensorrt-rtx or tensorrt.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "tf32", "fp16", "bf16", "int8"]),
    default="fp32",
    show_default=True,
    help="Type to compute in. tf32 and fp16: TensorRT and CUDA. "
    "bf16 on a CPU needs OpenVINO and AMX or AVX512-BF16. "
    "int8: CUDA, and a model that carries its quantisation.",
)
@_options.threads
@click.option(
    "--batch",
    type=_sizes.batch,
    metavar="N[:N:N]",
    help="Fix the batch size, or give its range: smallest:usual:largest.  [default: left free; 1 "
    "for TensorRT]",
)
@click.option(
    "--size",
    type=_sizes.size,
    metavar="HxW[:HxW:HxW]",
    help="Fix the image size (of a volume, DxHxW), or give its range: smallest:usual:largest.  "
    "[default: as the model says]",
)
@click.option(
    "--via",
    type=click.Choice(["network", "onnx-parser"]),
    help="How TensorRT gets the graph: written layer by layer, or through its own ONNX parser.  "
    "[default: network]",
)
@click.option(
    "--fallback",
    metavar="TARGET",
    help="What runs the layers that the target refuses: cpu, cuda ...  "
    "[default: nothing; refused layers are an error]",
)
@click.option(
    "--input",
    "pixels",
    type=click.Choice(["uint8"]),
    help="Take 8-bit pixels; --scale, --mean, --std and --channel-order are applied inside the "
    "engine.  [default: prepared floats]",
)
@click.option(
    "--head",
    metavar="mask[:N]",
    help="Put out 8-bit masks: over the threshold N (0.5) for one channel, else the largest "
    "channel.  [default: what the network puts out]",
)
@click.option(
    "--upsampling",
    metavar="FORM",
    help="Form of upsampling to use wherever it is exact (see: segrt inspect --upsampling).  "
    "[default: the target's favourite]",
)
@_options.preprocess
@_options.device
@_progress.verbose
@_ops.ops
def command(
    *,
    model: Path,
    loading: _options.Loading,
    output: Path,
    target: str,
    precision: str,
    threads: int | None,
    batch: Size | None,
    size: tuple[Size, ...] | None,
    via: str | None,
    fallback: str | None,
    upsampling: str | None,
    pixels: str | None,
    head: str | None,
    **preprocess: Unpack[_options.Pixels],
) -> None:
    """Build a package from a trained model: the engine, its proof and how to feed it.

    --scale, --mean, --std and --channel-order are written into the package and used by
    `segrt predict`: an image becomes (pixel * scale - mean) / std.
    """
    from segrt import api
    from segrt.types import Preprocess

    log = logging.getLogger(__name__)
    graph = api.load(model, **loading)
    log.info("%s is read", model)
    package = api.build(
        graph,
        target=target,
        output=output,
        precision=precision,
        threads=threads,
        batch=batch,
        size=size,
        via=via,
        fallback=fallback,
        upsampling=upsampling,
        input=pixels,
        head=head,
        preprocess=Preprocess(**preprocess),
    )
    log.info("%s is written", output)
    show(package)


def show(package: Package) -> None:
    """Print what was built."""
    from segrt.cli import _console

    manifest = package.manifest
    table = _console.table(f"{package.path}", "", "")
    table.show_header = False
    table.add_row("target", manifest.target)
    if manifest.fallback is not None:
        table.add_row("fallback", manifest.fallback.target)
        for piece in manifest.fallback.pieces:
            table.add_row(piece.folder, f"{piece.target}: {', '.join(piece.layers)}")
    for key, value in manifest.engine.items():
        if isinstance(value, str | int | float):
            table.add_row(key.replace("_", " "), str(value))
    table.add_row("precision", manifest.options.precision.value)
    for spec in manifest.inputs:
        sizes = _console.shape_text(spec.shape, spec.ranges)
        table.add_row("input", f"{spec.name}: {sizes} {spec.dtype}")
    for spec in manifest.outputs:
        table.add_row("output", f"{spec.name}: {_console.shape_text(spec.shape)} {spec.dtype}")
    for name, text in _rewrites(manifest.verdicts).items():
        table.add_row(name, text)
    table.add_row("size", f"{sum(file.bytes for file in manifest.files.values()) / 1e6:.1f} MB")
    _console.results().print(table)
    notes = _console.notes()
    for remark in manifest.remarks:
        notes.print(f"remark: {remark}", style="yellow", markup=False)


def _rewrites(verdicts: Sequence[Verdict]) -> dict[str, str]:
    """Count what the passes did; a form that was proven and kept counts as chosen."""
    done = Counter(
        verdict.pass_name
        for verdict in verdicts
        if verdict.applied and not verdict.pass_name.startswith("upsampling/")
    )
    forms = Counter(
        verdict.pass_name.removeprefix("upsampling/")
        for verdict in verdicts
        if verdict.certificate is not None and verdict.pass_name.startswith("upsampling/")
    )
    return {
        title: ", ".join(f"{name} x {count}" for name, count in counts.items())
        for title, counts in (("rewrites", done), ("upsampling", forms))
        if counts
    }
