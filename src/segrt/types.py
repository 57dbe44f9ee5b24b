"""Plain values that travel between the stages: frozen, without behaviour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

Dim = int | None
Shape = tuple[Dim, ...]
# A converter of the user's own: the function, or where it is found.
LayerSource = str | Path | Callable[..., Any]


class Precision(StrEnum):
    """The type an engine computes in."""

    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    FP8 = "fp8"


@dataclass(frozen=True, slots=True)
class ShapeProfile:
    """Smallest, usual and largest value of one free size, such as the batch."""

    minimum: int
    usual: int
    maximum: int


# One size, or the range that it may be chosen from at each run.
Size = int | ShapeProfile


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a network.

    Attributes:
        name: The Keras tensor's (layer's) name.
        shape: In the source's axis order, batch first; None is an unknown size.
        dtype: NumPy's name of the type, such as ``float32``.
        channel_axis: Which axis holds channels (1 or -1), None where there is none.
        ranges: What free sizes are limited to, one entry an axis (None: not limited); empty where
            nothing is.
    """

    name: str
    shape: Shape
    dtype: str
    channel_axis: int | None = None
    ranges: tuple[ShapeProfile | None, ...] = ()


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Where the tiles of one image lie, and how their results are put together.

    Attributes:
        size: The image's (height, width).
        tile: A tile's; what reaches over the image is the image mirrored.
        rows: First row of each row of tiles, ascending.
        columns: First column of each column of tiles, ascending.
        weights: Float32 numbers, along a tile's height and along its width; a position weighs their
            product.
        joined: Each pixel is taken from the tile that weighs most there, the first of equals; else
            it is the weighted mean of all.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    weights: tuple[tuple[float, ...], tuple[float, ...]]
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Certificate:
    """Why a rewrite says the same as what it replaced.

    Attributes:
        claim: ``bit-equal`` or ``up to rounding``.
        method: How it was shown, in words (`integer ramp 7x5, factor 2`, `float64 probe`).
        error: The largest relative L2 difference measured by the method.
        bound: The largest difference that would have been accepted.
    """

    claim: Literal["bit-equal", "up to rounding"]
    method: str
    error: float
    bound: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one pass did, or refused to do, at one place.

    Attributes:
        pass_name: The pass, such as ``fold_batch_norm``; for upsampling the form follows it
            (``upsampling/subpixel``).
        subject: The Keras value (layer) it is about.
        applied: Whether the graph was changed here.
        reason: One sentence: why it was done or refused.
        certificate: Present whenever ``applied``.
    """

    pass_name: str
    subject: str
    applied: bool
    reason: str
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark about a model, for people: stable rule id, the layer it is about, the text."""

    rule: str
    subject: str
    severity: Literal["info", "warning", "error"]
    message: str


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How pixels become network input: ``(pixel * scale - mean) / std`` per channel.

    Attributes:
        scale: Factor applied to the stored integer value (1/255 for 8-bit images by default;
            16-bit images are first brought to the 0..255 range). None: `1/255`, or 1 where
            the network itself rescales (a Rescaling or Normalization layer at its head).
        mean: One value a channel, or one for all; after scaling.
        std: One value a channel, or one for all; after scaling; never 0.
        channel_order: ``rgb`` or ``bgr``; ignored for one-channel inputs.
    """

    scale: float | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channel_order: Literal["rgb", "bgr"] = "rgb"


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a model file is to be read, beyond what it says itself.

    Attributes:
        architecture: What ``model.to_json()`` returned, for files that hold weights only.
        layers: The user's converters: class name to a function, ``file.py``, ``file.py:function``,
            ``module:function`` or ``block.onnx``. The name "" stands for all that a file registers.
        lambdas: What Lambda layers compute: name or pattern to a form such as
            ``resize_bilinear:size=64x64``, a function or ``file.py:function``.
        outputs: Tensors that a frozen graph returns, such as ``mask/Sigmoid:0``.
        inputs: Tensors that it takes; () takes all its placeholders.
        partial: Leave out what depends on layers without a converter, instead of refusing: enough
            to know what a Keras model takes, and no more.
    """

    architecture: Path | None = None
    layers: tuple[tuple[str, LayerSource], ...] = ()
    lambdas: tuple[tuple[str, LayerSource], ...] = ()
    outputs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    partial: bool = False


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What `segrt.build` was asked for.

    Attributes:
        precision: Type the engine computes in.
        threads: Threads of a CPU engine; None leaves it to the library (all cores).
        batch: Fixed batch size, or its range; None keeps the batch free.
        size: Fixed (height, width), or their ranges; three of a volume, and one number or range
            for every side of a square, a cube or a sequence; None keeps what the model says.
        upsampling: Name of the form to use wherever it is exact; None lets the planner choose.
        via: How TensorRT gets the graph: ``network`` or ``onnx-parser``; None is the former.
        input: ``uint8``: take pixels, and prepare them inside the engine; None: take what the
            network takes.
        head: ``mask`` or ``mask:0.35``: put out masks; None: put out what the network does.
        preprocess: Written to the manifest; used by ``predict``, or inside the engine.
        fallback: Name of the target that runs what the first one refuses; None: nothing does.
    """

    precision: Precision = Precision.FP32
    threads: int | None = None
    batch: Size | None = None
    size: tuple[Size, ...] | None = None
    upsampling: str | None = None
    via: str | None = None
    input: str | None = None
    head: str | None = None
    preprocess: Preprocess = field(default_factory=Preprocess)
    fallback: str | None = None
