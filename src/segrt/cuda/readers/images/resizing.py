"""Resizing: upsampling by whole factors, and anything else by tables."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.cuda.image_operations import Resample
from segrt.cuda.operations import Operation, Upsample
from segrt.cuda.readers._base import IMAGES, constant, integer, names_of, number, text
from segrt.cuda.resampling import ResizeRule, axis_tables, matrix_tables, unchanged


@IMAGES.register("Resize")
def read_resize(node: ir.Node, layer: str) -> Operation | None:
    """Read every mode but cropping ones."""
    names, output = names_of(node)
    source, target = node.inputs[0], node.outputs[0]
    if source is None or source.shape is None or target.shape is None:
        return None
    before, after = source.shape.numpy(), target.shape.numpy()
    factors = (after[2] // before[2], after[3] // before[3])
    whole = (before[2] * factors[0], before[3] * factors[1]) == tuple(after[2:])
    transform = text(node, "coordinate_transformation_mode", "half_pixel")
    mode = text(node, "mode", "nearest")
    rounding = text(node, "nearest_mode", "round_prefer_floor")
    if before[:2] != after[:2]:
        return None
    if whole and mode == "nearest" and transform == "asymmetric" and rounding == "floor":
        return Upsample(layer, names, output, factors, "nearest")
    if whole and mode == "linear" and transform == "half_pixel":
        return Upsample(layer, names, output, factors, "bilinear")
    rule = ResizeRule(
        mode,
        transform,
        rounding,
        number(node, "cubic_coeff_a", -0.75),
        bool(integer(node, "exclude_outside", 0)),
        bool(integer(node, "antialias", 0)),
    )
    return _by_tables(node, layer, rule, (before, after))


def _by_tables(
    node: ir.Node, layer: str, rule: ResizeRule, sizes: tuple[tuple[int, ...], tuple[int, ...]]
) -> Resample | None:
    scales = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    told = [None] * 4 if scales is None or scales.size != 4 else [float(s) for s in scales]
    if "axes" in node.attributes or text(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        return None
    tables = [axis_tables(rule, sizes[0][k], sizes[1][k], told[k]) for k in (2, 3)]
    if tables[0] is None or tables[1] is None:
        return None
    (rows, row_weights), (columns, column_weights) = tables[0], tables[1]
    return Resample(layer, *names_of(node), rows, columns, row_weights, column_weights)


@IMAGES.register("MatMul")
def read_product(node: ir.Node, layer: str) -> Resample | None:
    """Read a product with a thin band of a matrix: how rows or columns are resized by hand."""
    left, right = (constant(value) for value in node.inputs)
    matrix, image = (left, node.inputs[1]) if left is not None else (right, node.inputs[0])
    if matrix is None or matrix.ndim != 2 or image is None or image.shape is None:
        return None
    sizes = image.shape.numpy()
    thin = matrix if left is not None else matrix.T
    places, weights = matrix_tables(np.asarray(thin))
    # Else it is a product like any other, and tensor cores are better at these.
    if 4 * places.shape[1] > thin.shape[1]:
        return None
    output = node.outputs[0].name or ""
    names = ((image.name or "",), output)
    if left is not None:
        columns, column_weights = unchanged(sizes[3])
        return Resample(layer, *names, places, columns, weights, column_weights)
    rows, row_weights = unchanged(sizes[2])
    return Resample(layer, *names, rows, places, row_weights, weights)
