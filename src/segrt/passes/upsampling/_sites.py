"""Find the places where a network upsamples."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from segrt.passes._resize_rule import ResizeRule, read_rule
from segrt.passes._rewrite import nodes_of, subject_of
from segrt.passes.upsampling._base import Kind, Site


def find_sites(graph: ir.Graph) -> Iterator[Site]:
    """Yield every Resize, and every ConvTranspose with a stride, in topological order."""
    for node in nodes_of(graph, "Resize", "ConvTranspose"):
        layer = subject_of(node.outputs[0])
        if node.op_type == "ConvTranspose":
            strides = node.attributes.get("strides")
            steps = (1,) if strides is None else tuple(strides.as_ints())
            if max(steps) > 1:
                yield Site(node, layer, "transposed convolution", steps, None)
            continue
        rule = read_rule(node)
        yield Site(node, layer, _kind(rule), (1, 1) if rule is None else rule.factors, rule)


def _kind(rule: ResizeRule | None) -> Kind:
    if rule is None:
        return "foreign"
    if rule.linear:
        return "foreign" if rule.coordinates == "tf_half_pixel_for_nn" else "bilinear"
    return "nearest" if rule.repeats_pixels() else "foreign"


def describe_foreign(site: Site) -> str:
    """Return what a foreign Resize does differently from UpSampling."""
    if site.rule is None:
        return "it does not resize by whole factors known in advance"
    if site.rule.linear:
        return f"bilinear with {site.rule.coordinates} coordinates"
    factor = max(site.factors)
    shift = int((site.rule.nearest_indices(5, factor) != _blocks(factor)).sum())
    return (
        f"{site.rule} reads another pixel than nearest upsampling for {shift} of {5 * factor} "
        "pixels of a row"
    )


def _blocks(factor: int) -> list[int]:
    return [index // factor for index in range(5 * factor)]
