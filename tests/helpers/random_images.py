"""Rules by which random graphs get operators on images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from helpers.random_graphs import Draw, rule

_COORDINATES = ("half_pixel", "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
_ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


def window(d: Draw, *, longest_pad: int) -> dict[str, Any]:
    """Draw settings of a window over two axes; pads reach ``longest_pad`` less than its size."""
    kernel = [d.one_of((1, 2, 3, 3, 4, 5)) for _ in range(2)]
    settings: dict[str, Any] = {"kernel_shape": kernel}
    if d.chance(0.5):
        settings["strides"] = [d.whole(1, 3) for _ in range(2)]
    mode = d.one_of(("none", "pads", "pads", "pads", "SAME_UPPER", "SAME_LOWER", "VALID"))
    if mode == "pads":
        settings["pads"] = [d.whole(0, size - longest_pad) for size in kernel * 2]
    elif mode != "none":
        settings["auto_pad"] = mode
    if mode in ("none", "pads") and d.chance(0.25):
        settings["dilations"] = [d.whole(1, 3) for _ in range(2)]
    return settings


@rule
def convolution(d: Draw) -> str | None:
    if (x := d.pick(4)) is None:
        return None
    settings, channels = window(d, longest_pad=0), d.shape(x)[1]
    groups = d.one_of([g for g in (1, 1, 1, 2, channels) if channels % g == 0])
    count, fan = groups * d.whole(1, 4), channels // groups
    taps = settings["kernel_shape"]
    kernel = d.numbers(count, fan, *taps, scale=1 / math.sqrt(fan * math.prod(taps)))
    bias = [d.constant(d.numbers(count))] if d.chance(0.6) else []
    return d.add("Conv", [x, d.constant(kernel), *bias], group=groups, **settings)


@rule
def transposed_convolution(d: Draw) -> str | None:
    if (x := d.pick(4)) is None:
        return None
    settings, channels = window(d, longest_pad=0), d.shape(x)[1]
    strides = settings.get("strides", [1, 1])
    if d.chance(0.3):
        settings["output_padding"] = [d.whole(0, step - 1) for step in strides]
    elif d.chance(0.2) and "pads" not in settings and "dilations" not in settings:
        pairs = zip(d.shape(x)[2:], strides, settings["kernel_shape"], strict=True)
        settings["output_shape"] = [(size - 1) * step + d.whole(1, k) for size, step, k in pairs]
    taps = settings["kernel_shape"]
    kernel = d.numbers(channels, d.whole(1, 3), *taps, scale=1 / math.sqrt(3 * channels))
    return d.add("ConvTranspose", [x, d.constant(kernel)], **settings)


@rule
def pool(d: Draw) -> str | None:
    if (x := d.pick(4)) is None:
        return None
    settings, kind = window(d, longest_pad=1), d.one_of(("MaxPool", "AveragePool"))
    if "auto_pad" not in settings and d.chance(0.4):
        settings["ceil_mode"] = 1
    fits = zip(d.shape(x)[2:], settings["kernel_shape"], strict=True)
    if any(size < k for size, k in fits):  # ONNX leaves open what a window finds there
        return None
    if kind == "AveragePool":
        settings.pop("dilations", None)
        settings["count_include_pad"] = d.whole(0, 1)
    return d.add(kind, [x], outputs=2 if kind == "MaxPool" and d.chance(0.1) else 1, **settings)


@rule
def resize(d: Draw) -> str | None:
    if (x := d.pick(4)) is None:
        return None
    settings: dict[str, Any] = {"mode": d.one_of(("nearest", "nearest", "linear", "cubic"))}
    settings["coordinate_transformation_mode"] = d.one_of(_COORDINATES)
    if settings["mode"] == "nearest":
        settings["nearest_mode"] = d.one_of(_ROUNDINGS)
    factors = [d.one_of((1.0, 2.0, 2.0, 3.0, 0.5, 1.5, 0.7, 2.3)) for _ in range(2)]
    if d.chance(0.5):
        return d.add("Resize", [x, "", d.floats(1, 1, *factors)], **settings)
    sizes = [max(1, int(size * by)) for size, by in zip(d.shape(x)[2:], factors, strict=True)]
    if d.chance(0.3):
        return d.add("Resize", [x, "", "", d.ints(*sizes)], axes=[2, 3], **settings)
    return d.add("Resize", [x, "", "", d.ints(*d.shape(x)[:2], *sizes)], **settings)


@rule
def upsampling_and_convolution(d: Draw) -> str | None:
    if (x := d.pick(4)) is None:
        return None
    by = float(d.whole(2, 3))
    rules = ("nearest", "asymmetric", "floor"), ("linear", "half_pixel", None)
    mode, coordinates, rounding = d.one_of(rules)
    settings = {"mode": mode, "coordinate_transformation_mode": coordinates}
    y = d.add("Resize", [x, "", d.floats(1, 1, by, by)], nearest_mode=rounding, **settings)
    return y and convolution(d)


@rule
def pad(d: Draw) -> str | None:
    if (x := d.pick(3, 4)) is None:
        return None
    rank, least = len(d.shape(x)), d.one_of((0, 0, 0, -1))
    pads = [d.whole(least, 2) if place % rank > 1 else 0 for place in range(2 * rank)]
    mode = d.one_of(("constant", "constant", "edge", "reflect")) if least == 0 else "constant"
    if mode == "reflect" and max(pads) >= min(d.shape(x)[2:]):
        return None
    value = [d.constant(np.float32(d.one_of((0, 1.5))))] if mode == "constant" else []
    y = d.add("Pad", [x, d.ints(*pads), *value], mode=mode)
    return y and (convolution(d) if d.chance(0.4) else y)


@rule
def batch_normalization(d: Draw) -> str | None:
    if (x := d.pick(3, 4)) is None:
        return None
    count = d.shape(x)[1]
    spread = d.constant(np.abs(d.numbers(count)) + np.float32(0.1))
    return d.add("BatchNormalization", [x, *(d.constant(d.numbers(count)) for _ in "sbm"), spread])


@rule
def normalization(d: Draw) -> str | None:
    if (x := d.pick(4)) is None or math.prod(d.shape(x)[2:]) < 4:
        return None
    count, width = d.shape(x)[1], d.shape(x)[-1]
    if d.chance(0.5):
        pair = [d.constant(d.numbers(count)) for _ in "sb"]
        return d.add("InstanceNormalization", [x, *pair], epsilon=0.1)
    pair = [d.constant(d.numbers(width)) for _ in "sb"]
    return d.add("LayerNormalization", [x, *pair], axis=-1, epsilon=0.1)


@rule
def pixels_and_channels(d: Draw) -> str | None:
    if (x := d.pick(4)) is None:
        return None
    if d.shape(x)[1] % 4:
        return d.add("SpaceToDepth", [x], blocksize=2)
    return d.add("DepthToSpace", [x], blocksize=2, mode=d.one_of(("DCR", "CRD")))


@rule
def shortcut(d: Draw) -> str | None:
    if (x := d.pick(4)) is None:
        return None
    count = d.shape(x)[1]
    kernel = d.constant(d.numbers(count, count, 3, 3, scale=1 / math.sqrt(9 * count)))
    y = d.add("Conv", [x, kernel], pads=[1, 1, 1, 1])
    return y and d.add(d.one_of(("Add", "Mul")), [x, y])


@rule
def gate(d: Draw) -> str | None:
    if (x := d.pick(4)) is None or (y := d.add("GlobalAveragePool", [x])) is None:
        return None
    count = d.shape(x)[1]
    y = d.add("Conv", [y, d.constant(d.numbers(count, count, 1, 1))])
    y = y and d.add("Sigmoid", [y])
    return y and d.add("Mul", [x, y] if d.chance(0.5) else [y, x])
