"""Normalisation by a sample's own statistics."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.cuda.image_operations import GroupNormalize
from segrt.cuda.kernels.group_normalization import fits
from segrt.cuda.readers._base import IMAGES, constant, integer, names_of, number


@IMAGES.register("InstanceNormalization", "GroupNormalization")
def read_group_normalisation(node: ir.Node, layer: str) -> GroupNormalize | None:
    """Read either, with constant scale and shift a channel."""
    scale, shift, source = constant(node.inputs[1]), constant(node.inputs[2]), node.inputs[0]
    if scale is None or shift is None or source is None or source.shape is None:
        return None
    channels = int(source.shape.numpy()[1])
    alone = node.op_type == "InstanceNormalization"
    groups = channels if alone else integer(node, "num_groups", 1)
    if scale.size not in (channels, groups) or not fits(groups) or channels % groups:
        return None
    vectors = np.stack([scale.reshape(-1), shift.reshape(-1)]).astype(np.float32)
    # Up to version 20 of the operator: one number a group.
    vectors = np.repeat(vectors, channels // vectors.shape[1], axis=1)
    return GroupNormalize(layer, *names_of(node), groups, vectors, number(node, "epsilon", 1e-5))
