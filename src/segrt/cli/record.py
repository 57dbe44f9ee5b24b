"""`segrt record`: what Keras computes in every layer, into one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import click

from segrt.cli import _objects, _ops, _options


@click.command(
    short_help="Record what Keras computes in every layer.",
    epilog="""\b
Example: record where Keras is, compare where it is not
  training$   segrt record unet.h5 --images images -o keras.npz
  deployment$ segrt verify unet.segrt --against keras.npz
With layers of your own, name the file that defines their Keras classes:
  training$   segrt record unet.h5 --objects my_layers.py --images images -o keras.npz
""",
)
@click.argument("model", type=_options.MODEL)
@_options.architecture
@click.option(
    "--images",
    required=True,
    type=_options.ANY,
    help="Image or folder of images: a tile from the middle of each of the first eight is run.",
)
@click.option(
    "-o", "--output", required=True, type=_options.OUTPUT_FILE, help="Recording to write (.npz)."
)
@_objects.keras_code
@_options.preprocess
@_ops.ops
def command(
    *,
    model: Path,
    architecture: Path | None,
    images: Path,
    output: Path,
    custom_objects: dict[str, Any],
    allow_code: bool,
    **pixels: Unpack[_options.Pixels],
) -> None:
    """Run a model with real Keras and record the output of every layer.

    Needs Keras (pip install keras tensorflow). The recording can then be compared with a package
    by `segrt verify` on any machine.
    """
    from segrt import api
    from segrt.types import Preprocess

    recording = api.record(
        model,
        images=images,
        output=output,
        architecture=architecture,
        preprocess=Preprocess(**pixels),
        allow_code=allow_code,
        custom_objects=custom_objects,
    )
    size = recording.path.stat().st_size / 1e6
    click.echo(
        f"{recording.path}: {len(recording.layers)} layers by Keras {recording.keras_version}, "
        f"{size:.1f} MB"
    )
