"""Take away what an exporter wrote around a network: shape arithmetic, constants, idle reshapes.

Nothing is computed that could round. What a pass proves better (batch normalisation, Transposes
that cancel, upsampling spelled as repetition) is left to the passes.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import (
    InlinePass,
    LiftConstantsToInitializersPass,
    RemoveInitializersFromInputsPass,
    RemoveUnusedNodesPass,
)

from segrt.errors import ModelFileError
from segrt.importers._onnx_ceiling import spell_ceiling
from segrt.importers._onnx_names import shared_path
from segrt.importers._onnx_scales import raised_scales
from segrt.importers._onnx_shapes import InferenceError, Shapes, Sizes, slice_bounds
from segrt.importers._onnx_symbols import number

_RESHAPES = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity")


def simplify(model: ir.Model, file: str) -> None:
    """Simplify a graph of opset 18, in place; every value has a shape and a type afterwards.

    Raises:
        ModelFileError: A node does not fit its inputs.
    """
    RemoveInitializersFromInputsPass()(model)
    InlinePass()(model)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    shapes = Shapes()
    simplifier = _Simplifier(model.graph, shapes)
    for node in list(model.graph):
        simplifier.prepare(node)
        try:
            shapes.infer(node)
        except (InferenceError, OverflowError, ValueError) as error:
            raise ModelFileError(
                f"{file}: node {node.name!r} ({node.op_type}) does not fit its inputs",
                found=str(error).strip().splitlines()[-1][:200],
            ) from error
        simplifier.visit(node)
    RemoveUnusedNodesPass()(model)


class _Simplifier:
    def __init__(self, graph: ir.Graph, shapes: Shapes) -> None:
        self._graph = graph
        self._shapes = shapes
        self._taken = {value.name for value in graph.inputs} | set(graph.initializers)
        for node in graph:
            self._taken |= {output.name for output in node.outputs}

    def prepare(self, node: ir.Node) -> None:
        """Change what a node's shapes would be inferred wrongly from."""
        if node.op_type in ("MaxPool", "AveragePool"):
            padding = spell_ceiling(self._graph, node)
            if padding is not None:
                self._taken.add(padding.outputs[0].name)
                self._shapes.infer(padding)
        raised = raised_scales(node, self._shapes) if node.op_type == "Resize" else None
        if raised is not None:
            constant = self._constant(f"{node.outputs[0].name}:scales", raised)
            node.replace_input_with(2, constant)

    def visit(self, node: ir.Node) -> None:
        """Simplify one node whose shapes are known."""
        for output in node.outputs:
            self._fold(output)
        if node.op_type in _RESHAPES:
            self._reshape(node)
        elif node.op_type == "Resize":
            self._resize(node)
        elif node.op_type == "Slice" and self._takes_all(node):
            self._bypass(node)
        elif node.op_type in ("Expand", "Tile"):
            self._constant_operand(node)

    def _fold(self, value: ir.Value) -> None:
        """Replace shape arithmetic whose result is known by a constant."""
        content = self._shapes.contents.get(value)
        sizes = self._shapes.shape(value)
        if content is None or sizes is None or value.is_graph_output() or value.dtype is None:
            return
        numbers = [item.number for item in content]
        if None in numbers:
            return
        array = np.array([float(n) if n is not None else 0.0 for n in numbers])
        array = array.astype(value.dtype.numpy()).reshape(() if not sizes else (-1,))
        constant = self._constant(f"{value.name}:folded", array)
        self._shapes.contents[constant] = content
        value.replace_all_uses_with(constant)

    def _reshape(self, node: ir.Node) -> None:
        """Say a Reshape with constants, or as the Transpose or the nothing that it is."""
        output = node.outputs[0]
        root = _root(node)
        before, after = self._shapes.shape(root), self._shapes.shape(output)
        if root is None or before is None or after is None:
            return
        if before == after and self._bypass(node, root):
            return
        perm = _moved_ones(before, after)
        if perm is not None and before != after:
            self._become(node, "Transpose", [root], [ir.AttrInt64s("perm", perm)])
            return
        if node.op_type == "Reshape" and node.inputs[0] is not None:
            direct = self._shapes.shape(node.inputs[0])
            wanted = None if direct is None else _constant_target(direct, after)
            shape = node.inputs[1]
            if wanted is not None and shape is not None and shape.const_value is None:
                array = np.array(wanted, dtype=np.int64)
                node.replace_input_with(1, self._constant(f"{output.name}:shape", array))
                node.attributes.pop("allowzero", None)

    def _resize(self, node: ir.Node) -> None:
        """Turn sizes computed in the graph into constant scales."""
        before, after = self._shapes.shape(node.inputs[0]), self._shapes.shape(node.outputs[0])
        sizes = node.inputs[3] if len(node.inputs) > 3 else None
        if before is None or after is None or "axes" in node.attributes:
            return
        if sizes is not None and self._shapes.content(sizes):
            node.name = _layer_name(node, sizes)
            scales = [a.over(b) for a, b in zip(after, before, strict=True)]
            numbers = [scale.number if scale is not None else None for scale in scales]
            if None in numbers:
                return
            array = np.array([float(n) for n in numbers if n is not None], dtype=np.float32)
            # Only scales that are exact in float32 say the same as the sizes.
            if any(float(a) != float(n) for a, n in zip(array, numbers, strict=True) if n):
                return
            constant = self._constant(f"{node.outputs[0].name}:scales", array)
            node.resize_inputs(3)
            node.replace_input_with(2, constant)
            node.attributes.pop("keep_aspect_ratio_policy", None)
        self._plain_resize(node)

    def _plain_resize(self, node: ir.Node) -> None:
        """Leave out what has no effect: an empty region, settings at their defaults."""
        region = node.inputs[1]
        self._usual_spelling(node)
        mode = node.attributes.get("coordinate_transformation_mode")
        crops = mode is not None and mode.as_string() == "tf_crop_and_resize"
        if region is not None and not crops:
            node.replace_input_with(1, None)
        for name in ("exclude_outside", "antialias"):
            setting = node.attributes.get(name)
            if setting is not None and setting.as_int() == 0:
                node.attributes.pop(name)
        mode_name = node.attributes.get("mode")
        if mode_name is None or mode_name.as_string() != "cubic":
            node.attributes.pop("cubic_coeff_a", None)
        if not crops:
            node.attributes.pop("extrapolation_value", None)

    def _usual_spelling(self, node: ir.Node) -> None:
        """Spell TensorFlow's nearest by whole factors as ``asymmetric``.

        ``floor((o + 1/2) / f) = floor(o / f)`` for whole ``f``; the other name is deprecated.
        """
        scales = self._shapes.content(node.inputs[2]) if len(node.inputs) > 2 else None
        words = [
            node.attributes[name].as_string() if name in node.attributes else ""
            for name in ("mode", "coordinate_transformation_mode", "nearest_mode")
        ]
        whole = bool(scales) and all((scale.whole or 0) >= 1 for scale in scales or ())
        if whole and words[0] in ("", "nearest") and words[1:] == ["tf_half_pixel_for_nn", "floor"]:
            name = "coordinate_transformation_mode"
            node.attributes[name] = ir.AttrString(name, "asymmetric")

    def _takes_all(self, node: ir.Node) -> bool:
        bounds, before = slice_bounds(self._shapes, node), self._shapes.shape(node.inputs[0])
        if bounds is None or before is None:
            return False
        return all(start == number(0) and end == before[axis] for axis, start, end in bounds)

    def _constant_operand(self, node: ir.Node) -> None:
        """Give Expand a constant shape where every free size is the input's own."""
        before, wanted = self._shapes.shape(node.inputs[0]), self._shapes.content(node.inputs[1])
        operand = node.inputs[1]
        if node.op_type != "Expand" or before is None or wanted is None or operand is None:
            return
        if operand.const_value is not None or len(before) != len(wanted):
            return
        kept = [1 if new == old else new.whole for old, new in zip(before, wanted, strict=True)]
        if None in kept:
            return
        array = np.array(kept, dtype=np.int64)
        node.replace_input_with(1, self._constant(f"{node.outputs[0].name}:shape", array))

    def _bypass(self, node: ir.Node, source: ir.Value | None = None) -> bool:
        """Let the users of a node read its input; a graph output keeps its node."""
        source = source or node.inputs[0]
        if source is None or node.outputs[0].is_graph_output():
            return False
        node.outputs[0].replace_all_uses_with(source)
        return True

    def _become(
        self, node: ir.Node, kind: str, inputs: list[ir.Value], attributes: list[ir.Attr]
    ) -> None:
        """Put another node in the place of one, under the same names."""
        old = node.outputs[0]
        new = ir.Node("", kind, inputs, attributes, outputs=[ir.Value(name=None)], name=node.name)
        self._graph.insert_before(node, new)
        value = new.outputs[0]
        value.shape, value.type = old.shape, old.type
        self._shapes.sizes[value] = self._shapes.sizes[old]
        old.replace_all_uses_with(value, replace_graph_outputs=True)
        value.name, old.name = old.name, None
        node.name = None
        self._graph.remove(node, safe=True)

    def _constant(
        self, name: str, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]
    ) -> ir.Value:
        unique, count = name, 0
        while unique in self._taken:
            count += 1
            unique = f"{name}~{count}"
        self._taken.add(unique)
        tensor = ir.Tensor(array, name=unique)
        value = ir.Value(
            name=unique, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self._graph.register_initializer(value)
        return value


def _layer_name(node: ir.Node, sizes: ir.Value) -> str | None:
    """Return a Resize's name, or one after the layer whose shape arithmetic computes its sizes.

    tf2onnx numbers the Resize but keeps TensorFlow's names on that arithmetic: ``net/up/mul``.
    """
    if "/" in (node.name or ""):
        return node.name
    names, stack, seen = [], [sizes.producer()], set()
    while stack:
        step = stack.pop()
        if step is None or step in seen or step.op_type == "Shape":
            continue
        seen.add(step)
        names.append(str(step.name))
        stack += [value.producer() for value in step.inputs if value is not None]
    folder = shared_path(names)
    return f"{folder}/Resize" if folder else node.name


def _root(node: ir.Node) -> ir.Value | None:
    """Return what a chain of reshapes starts from."""
    value = node.inputs[0]
    while value is not None:
        before = value.producer()
        if before is None or before.op_type not in _RESHAPES or before.domain != "":
            break
        value = before.inputs[0]
    return value


def _moved_ones(before: Sizes, after: Sizes) -> list[int] | None:
    """Return the permutation that a reshape is, if it only moves axes of size 1."""
    one = number(1)
    kept = [axis for axis, size in enumerate(before) if size != one]
    ones = [axis for axis, size in enumerate(before) if size == one]
    if len(before) != len(after) or [before[axis] for axis in kept] != [
        s for s in after if s != one
    ]:
        return None
    return [ones.pop(0) if size == one else kept.pop(0) for size in after]


def _constant_target(before: Sizes, after: Sizes) -> list[int] | None:
    """Return a Reshape's target in numbers: 0 keeps an axis, one -1 is what is left over."""
    target: list[int] = []
    for axis, size in enumerate(after):
        whole = size.whole
        if whole is not None:
            target.append(whole)
        elif axis < len(before) and before[axis] == size:
            target.append(0)
        elif -1 not in target:
            target.append(-1)
        else:
            return None
    return target
