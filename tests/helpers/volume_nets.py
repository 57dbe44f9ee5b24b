"""Networks of volumes: U-Nets by the plan of Cicek et al. (2016), some with shortcuts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto

from helpers.residual_nets import Net


def volume_unet(
    channels: Sequence[int],
    shape: Sequence[int] = (1, 2, 8, 12, 8),
    *,
    up: str = "transposed",
    shortcuts: bool = False,
    last: str = "Sigmoid",
) -> ModelProto:
    """A U-Net of volumes: two convolutions a level, pools of two, skips.

    Args:
        channels: Of every level, the topmost first.
        shape: Of its input ``x``: N C D H W.
        up: ``transposed`` convolutions, or ``nearest`` or ``linear`` upsampling.
        shortcuts: Add what a level begins with to what it ends with.
        last: What follows the convolution to one channel.
    """
    net = Net(tuple(shape))
    random = np.random.default_rng(len(channels))

    def numbers(*sizes: int) -> str:
        return net.constant(random.normal(0, 1 / np.sqrt(np.prod(sizes[1:]) or 1), sizes))

    def conv(value: str, into: int, count: int, window: int = 3) -> str:
        kernel = numbers(count, into, window, window, window)
        return net.apply("Conv", value, kernel, numbers(count), pads=[window // 2] * 6)

    def level(value: str, into: int, count: int) -> str:
        first = net.apply("Relu", conv(value, into, count))
        second = conv(first, count, count)
        if shortcuts:
            second = net.apply("Add", conv(value, into, count, 1), second)
        return net.apply("Relu", second)

    def grown(value: str, count: int) -> str:
        if up == "transposed":
            return net.apply(
                "ConvTranspose", value, numbers(count, count, 2, 2, 2), strides=[2] * 3
            )
        scales = net.constant(np.array([1, 1, 2, 2, 2]))
        rule = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        rule = rule if up == "nearest" else {}
        return net.apply("Resize", value, "", scales, mode=up, **rule)

    value, into, skips = "x", shape[1], []
    for depth, count in enumerate(channels):
        if depth:
            value = net.apply("MaxPool", value, kernel_shape=[2] * 3, strides=[2] * 3)
        value = level(value, into, count)
        skips.append((value, count))
        into = count
    skips.pop()
    while skips:
        skip, count = skips.pop()
        value = net.apply("Concat", skip, grown(value, into), axis=1)
        value = level(value, count + into, count)
        into = count
    return net.model(net.apply(last, conv(value, into, 1, 1)))
