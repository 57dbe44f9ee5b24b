"""Put out masks: the decision that follows the network becomes part of the graph.

One channel: 1 where the probability is over a threshold, else 0 (logits are compared with the
threshold's logit). Several channels: the first of the largest. The mask is uint8, with one channel
in the place of the network's.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from segrt.errors import UsageError
from segrt.graph import metadata
from segrt.graph.builder import GraphBuilder
from segrt.graph.ends import Ends, MaskEnd, write_ends
from segrt.graph.output_kind import output_kind
from segrt.graph.specs import output_specs
from segrt.types import TensorSpec

WORD = "mask"
SUFFIX = f":{WORD}"
_USUAL = 0.5
_MOST_CLASSES = 256


def parse_head(text: str) -> float:
    """Read ``mask`` or ``mask:0.35``; return the threshold.

    Raises:
        UsageError: It is neither.
    """
    word, colon, number = text.partition(":")
    try:
        threshold = float(number) if colon else _USUAL
    except ValueError:
        threshold = math.nan
    if word != WORD or not 0 < threshold < 1:
        raise UsageError(
            f"unknown head {text!r}", found=text, wanted="mask, or mask:0.35 for another threshold"
        )
    return threshold


def put_out_masks(model: ir.Model, threshold: float = _USUAL) -> ir.Model:
    """Return ``model`` with masks for outputs, called like the outputs with ``:mask`` behind.

    What the outputs were are inner values from then on, and carry the Keras names. Outputs that
    are no images stay as they are.

    Args:
        model: Not changed.
        threshold: The probability over which a pixel of a one-channel output is class 1.

    Raises:
        UsageError: No output is an image, or one has too many channels or a free number of them.
    """
    made = model.clone()
    specs = [spec for spec in output_specs(made) if len(spec.shape) in (4, 5)]
    if not specs:
        raise UsageError(
            "no output is an image, so there is none to make a mask of",
            found=", ".join(f"{spec.name} {spec.shape}" for spec in output_specs(made)),
            wanted="four axes: batch, height, width and classes",
        )
    for spec in specs:
        _replace(made, spec, threshold)
    return made


def _replace(model: ir.Model, spec: TensorSpec, threshold: float) -> None:
    graph = model.graph
    place = next(i for i, value in enumerate(graph.outputs) if value.name == spec.name)
    axis = 1 if spec.channel_axis == 1 else -1
    end = _decide(model, spec, axis, threshold)
    keras, permutation = _channels_first(graph, graph.outputs[place])
    producer = keras.producer()
    builder = GraphBuilder(graph)
    mask = _mask(builder, keras, end, axis if permutation is None else 1)
    if permutation is not None:
        mask = builder.op("Transpose", [mask], name=f"{spec.name}:last", perm=list(permutation))
    # Last, because uint8 is a type of inputs and outputs only to TensorRT.
    mask = builder.op("Cast", [mask], name=f"{spec.name}{SUFFIX}", to=int(ir.DataType.UINT8))
    for node in builder.appended:
        if producer is not None:
            metadata.tag_node(node, metadata.layer_of(producer), metadata.class_of(producer))
    graph.outputs[place] = mask
    write_ends(model, Ends(masks={str(mask.name): end}))


def _decide(model: ir.Model, spec: TensorSpec, axis: int, threshold: float) -> MaskEnd:
    channels = spec.shape[axis]
    if channels is None or channels > _MOST_CLASSES:
        raise UsageError(
            f"output {spec.name!r} cannot become a mask of 8 bits",
            found=f"{'a free number of' if channels is None else channels} channels",
            wanted=f"{_MOST_CLASSES} at most",
        )
    if channels > 1:
        return MaskEnd(spec.name, channels, axis)
    if output_kind(model, spec.name) == "logits":
        threshold = math.log(threshold / (1 - threshold))
    return MaskEnd(spec.name, 2, axis, threshold)


def _channels_first(graph: ir.Graph, output: ir.Value) -> tuple[ir.Value, tuple[int, ...] | None]:
    """Return the value to decide on, and the permutation that leads to the source's layout.

    An output that is a mere transpose of a channels-first value is replaced by that value, which
    takes over its name and tags: one channel is moved then instead of all.
    """
    node = output.producer()
    inner = None if node is None else node.inputs[0]
    if node is None or inner is None or node.op_type != "Transpose" or output.uses():
        return output, None
    axes = tuple(node.attributes.get_ints("perm", []))
    tagged = metadata.keras_name(inner) is not None
    if axes not in ((0, 2, 3, 1), (0, 2, 3, 4, 1)) or tagged or inner.is_graph_input():
        return output, None
    name = output.name
    output.name = f"{name}:moved"
    inner.name = name
    keras = metadata.keras_name(output)
    metadata.move_tags(output, inner)
    if keras is not None:
        metadata.tag_value(inner, keras, axes)
    graph.outputs[list(graph.outputs).index(output)] = inner
    graph.remove(node, safe=True)
    return inner, axes


def _mask(builder: GraphBuilder, values: ir.Value, end: MaskEnd, axis: int) -> ir.Value:
    name = end.source
    if end.threshold is None:
        return builder.op("ArgMax", [values], name=f"{name}:class", axis=axis, keepdims=1)
    dtype = np.float32 if values.dtype is None else values.dtype.numpy()
    limit = builder.constant(f"{name}:threshold", np.asarray(end.threshold, dtype))
    return builder.op(
        "Greater",
        [values, limit],
        name=f"{name}:over",
    )
