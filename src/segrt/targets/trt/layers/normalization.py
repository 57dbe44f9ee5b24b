"""BatchNormalization as a per-channel scale; layer, group and instance normalization."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.targets.trt._writer import Array, Tensor, Writer
from segrt.targets.trt.layers._base import converts


@converts("BatchNormalization")
def batch_normalization(writer: Writer, node: ir.Node) -> Tensor:
    """Write ``x * scale + shift``, both computed in double precision."""
    if node.attributes.get_int("training_mode", 0):
        raise writer.unsupported("training_mode", "inference")
    x = writer.tensor(node.inputs[0])
    gamma, beta, mean, variance = (
        writer.required(value, "statistics").astype(np.float64) for value in node.inputs[1:5]
    )
    scale = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    shift = beta - mean * scale
    if len(x.shape) < 3:
        # A scale layer wants an image; two constants do the same.
        shape = (1, -1)
        factor = writer.constant(scale.reshape(shape), f"{writer.name}:scale")
        offset = writer.constant(shift.reshape(shape), f"{writer.name}:shift")
        return writer.elementwise(writer.elementwise(x, factor, "PROD", "scaled"), offset, "SUM")
    layer = writer.network.add_scale_nd(
        x,
        writer.trt.ScaleMode.CHANNEL,
        writer.weights(shift),
        writer.weights(scale),
        writer.no_weights(),
        1,
    )
    return writer.layer(layer)


@converts("LayerNormalization")
def layer_normalization(writer: Writer, node: ir.Node) -> Tensor:
    """Write a normalization over the last axes."""
    x = writer.tensor(node.inputs[0])
    rank = len(x.shape)
    axis = node.attributes.get_int("axis", -1) % rank
    scale = writer.required(node.inputs[1], "a scale")
    bias = _optional(writer, node, 2)
    neutral = np.zeros_like(scale) if bias is None else bias
    shape = (1,) * (rank - scale.ndim) + scale.shape
    mask = sum(1 << index for index in range(axis, rank))
    return _write(writer, x, (scale.reshape(shape), neutral.reshape(shape)), mask, 1)


@converts("InstanceNormalization")
def instance_normalization(writer: Writer, node: ir.Node) -> Tensor:
    """Write a normalization of every channel over its image."""
    x = writer.tensor(node.inputs[0])
    scale, bias = (writer.required(value, "a scale or bias") for value in node.inputs[1:3])
    return _per_channel(writer, x, scale, bias, 1)


@converts("GroupNormalization")
def group_normalization(writer: Writer, node: ir.Node) -> Tensor:
    """Write a normalization of groups of channels; opset 18 has one scale a group."""
    x = writer.tensor(node.inputs[0])
    groups = node.attributes.get_int("num_groups", 1)
    scale, bias = (writer.required(value, "a scale or bias") for value in node.inputs[1:3])
    channels = x.shape[1]
    if scale.size == groups != channels:
        scale, bias = (np.repeat(array, channels // groups) for array in (scale, bias))
    # TensorRT takes one group to mean every channel by itself, unless the axes say otherwise.
    return _per_channel(writer, x, scale, bias, groups, over_channels=groups == 1)


def _per_channel(
    writer: Writer,
    x: Tensor,
    scale: Array,
    bias: Array,
    groups: int,
    *,
    over_channels: bool = False,
) -> Tensor:
    rank = len(x.shape)
    shape = (1, -1) + (1,) * (rank - 2)
    mask = sum(1 << axis for axis in range(1 if over_channels else 2, rank))
    return _write(writer, x, (scale.reshape(shape), bias.reshape(shape)), mask, groups)


def _write(
    writer: Writer, x: Tensor, affine: tuple[Array, Array], mask: int, groups: int
) -> Tensor:
    assert writer.node is not None
    factor = writer.constant(affine[0], f"{writer.name}:scale")
    offset = writer.constant(affine[1], f"{writer.name}:bias")
    add = getattr(writer.network, "add_normalization_v2", None)
    if add is None:
        # Before 10.15 the scale is one a group: a neutral one, and ours behind.
        y = _neutral_v1(writer, x, mask, groups, list(factor.shape))
        y = writer.elementwise(y, factor, "PROD", "scaled")
        return writer.elementwise(y, offset, "SUM")
    layer = add(x, factor, offset, mask)
    if layer is not None:
        layer.num_groups = groups
        layer.epsilon = writer.node.attributes.get_float("epsilon", 1e-5)
    return writer.layer(layer)


def _neutral_v1(writer: Writer, x: Tensor, mask: int, groups: int, shape: list[int]) -> Tensor:
    assert writer.node is not None
    if groups > 1:
        shape[1] = groups
    ones = writer.constant(np.ones(shape, np.float32), f"{writer.name}:ones")
    zeros = writer.constant(np.zeros(shape, np.float32), f"{writer.name}:zeros")
    layer = writer.network.add_normalization(x, ones, zeros, mask)
    if layer is not None:
        layer.num_groups = groups
        layer.epsilon = writer.node.attributes.get_float("epsilon", 1e-5)
    return writer.layer(layer, "normalized")


def _optional(writer: Writer, node: ir.Node, index: int) -> Array | None:
    if len(node.inputs) <= index or node.inputs[index] is None:
        return None
    return writer.required(node.inputs[index], "a bias")
