"""`segrt record`: what Keras computes in every layer, into one file."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import click

from segrt.cli import _ops, _options


@click.command(
    short_help="Record what Keras computes in every layer.",
    epilog="""\b
Example: record where Keras is, compare where it is not
  training$   segrt record unet.h5 --images images -o keras.npz
  deployment$ segrt verify unet.segrt --against keras.npz
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
@_options.preprocess
@_ops.ops
def command(
    model: Path,
    architecture: Path | None,
    images: Path,
    output: Path,
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
    )
    size = recording.path.stat().st_size / 1e6
    click.echo(
        f"{recording.path}: {len(recording.layers)} layers by Keras {recording.keras_version}, "
        f"{size:.1f} MB"
    )
