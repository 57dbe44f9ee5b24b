"""Any opset from 7 to 24 becomes 18, the one that this project speaks."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import version_converter

from segrt.errors import UnsupportedConfigError
from segrt.graph.builder import OPSET
from segrt.importers._onnx_read import opset_of

# Before opset 11 a Resize had no coordinates to choose: it read ``floor(out / scale)``.
_FIRST_WITH_COORDINATES = 11
# Attributes of newer operators that change nothing while they have these values.
_NEUTRAL = {"saturate": 1, "round_mode": "up", "allowzero": 0, "is_causal": 0, "noop": 0}


def to_opset(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Return the model in opset 18.

    Raises:
        UnsupportedConfigError: It cannot be said in opset 18; what and why is told.
    """
    opset = opset_of(proto)
    del proto.metadata_props[:]
    if opset == OPSET:
        return _only_own_domain(proto)
    if opset > OPSET:
        return _downgrade(proto, opset, path)
    old = {
        node.output[0]
        for node in proto.graph.node
        if node.op_type in ("Upsample", "Resize") and opset < _FIRST_WITH_COORDINATES
    }
    _spell_last_axis(proto)
    try:
        converted = version_converter.convert_version(_only_own_domain(proto), OPSET)
    except Exception as error:
        # The converter is C++ and raises whatever it likes.
        raise UnsupportedConfigError(
            f"{path.name} cannot be converted from opset {opset} to {OPSET}",
            found=str(error).strip().splitlines()[-1][:200],
            hint="export it again, with opset 18",
        ) from error
    for node in converted.graph.node:
        if node.op_type == "Resize" and node.output[0] in old:
            _as_before_coordinates(node)
    return converted


def _spell_last_axis(proto: onnx.ModelProto) -> None:
    """Say of every Softmax over the last axis that it is one: before opset 13 others flatten.

    The converter wraps all that do not say -1 into Shape, Flatten and Reshape.
    """
    nodes = [n for n in proto.graph.node if n.op_type in ("Softmax", "LogSoftmax")]
    if not nodes:
        return
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    values = [*inferred.value_info, *inferred.input, *inferred.output]
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in values}
    for node in nodes:
        axis = next((a for a in node.attribute if a.name == "axis"), None)
        rank = ranks.get(node.input[0]) or ranks.get(node.output[0])
        if rank and (1 if axis is None else axis.i) == rank - 1:
            kept = [a for a in node.attribute if a.name != "axis"]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("axis", -1)])


def _as_before_coordinates(node: onnx.NodeProto) -> None:
    """Spell out what Upsample and Resize meant before they had coordinates."""
    kept = [a for a in node.attribute if a.name == "mode"]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.append(
        onnx.helper.make_attribute("coordinate_transformation_mode", "asymmetric")
    )
    node.attribute.append(onnx.helper.make_attribute("nearest_mode", "floor"))


def _only_own_domain(proto: onnx.ModelProto) -> onnx.ModelProto:
    kept = [entry for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    version = max(entry.version for entry in kept)
    del proto.opset_import[:]
    proto.opset_import.append(onnx.helper.make_opsetid("", version))
    return proto


def _downgrade(proto: onnx.ModelProto, opset: int, path: Path) -> onnx.ModelProto:
    """Take a newer opset's nodes as they are where opset 18 has the operator and all settings."""
    problems = []
    for node in proto.graph.node:
        if not onnx.defs.has(node.op_type, OPSET):
            problems.append(f"{node.name or node.output[0]}: {node.op_type} is newer")
            continue
        schema = onnx.defs.get_schema(node.op_type, OPSET)
        for attribute in list(node.attribute):
            if attribute.name in schema.attributes:
                continue
            if _is_neutral(attribute):
                node.attribute.remove(attribute)
            else:
                problems.append(
                    f"{node.name or node.output[0]}: {node.op_type} with {attribute.name}"
                )
        if len(node.input) > schema.max_input:
            problems.append(f"{node.name or node.output[0]}: {node.op_type} has new inputs")
    if problems:
        rows = "".join(f"\n  {problem}" for problem in problems)
        raise UnsupportedConfigError(
            f"{path.name} cannot be said in opset {OPSET} (it has {opset}):{rows}",
            hint=f"export it again, with opset {OPSET}",
        )
    del proto.opset_import[:]
    proto.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    return proto


def _is_neutral(attribute: onnx.AttributeProto) -> bool:
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name == "dilations":
        return all(step == 1 for step in value)
    value = value.decode() if isinstance(value, bytes) else value
    return attribute.name in _NEUTRAL and _NEUTRAL[attribute.name] == value
