"""What is wrong with a foreign node, in words: its settings and weights against Keras' layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.graph import metadata
from segrt.passes._operators import conv_pads
from segrt.passes._resize_rule import read_rule
from segrt.verification._pair_graphs import Pair

Array: TypeAlias = npt.NDArray[np.float64]

# Weights that agree to this are the same: exporters fold in float32.
_SAME = 1e-5
# How far a kernel may be from a multiple of another, channel by channel.
_SCALED = 1e-4
_DEFAULT_EPSILON = 1e-5


def damages(pair: Pair) -> list[str]:
    """Say what differs between a foreign node and what it stands for; [] if nothing is seen."""
    if pair.keras is None:
        return [f"a {pair.foreign.op_type} that the Keras model does not have"]
    family = _CHECKS.get(pair.foreign.op_type, _settings)
    return [*_lost(pair), *family(pair)]


def _lost(pair: Pair) -> Iterator[str]:
    """Name what Keras' graph has and the foreign one lacks."""
    for node in pair.folded:
        if _CHECKS.get(node.op_type) is _activations:
            yield f"{_activation(node)} behind it is lost"
        elif node.op_type == "Pad":
            yield f"the padding of layer {metadata.layer_of(node)!r} is lost"


def _resize(pair: Pair) -> Iterator[str]:
    found, wanted = _rule_words(pair.foreign), _rule_words(pair.keras)
    if found != wanted:
        yield f"upsampling mode: it says {found}; Keras' layer means {wanted}"


def _rule_words(node: ir.Node | None) -> str:
    if node is None:
        return "nothing"
    rule = read_rule(node)
    if rule is not None:
        if rule.repeats_pixels():
            return f"nearest x{rule.factors[0]}x{rule.factors[1]}, pixels repeated"
        return f"{rule} x{rule.factors[0]}x{rule.factors[1]}"
    names = ("mode", "coordinate_transformation_mode", "nearest_mode")
    words = [node.attributes[n].as_string() for n in names if n in node.attributes]
    return ", ".join(words) or "its defaults"


def _convolution(pair: Pair) -> Iterator[str]:
    foreign, keras = pair.foreign, pair.keras
    assert keras is not None
    yield from _window(pair)
    kernel, wanted = _constant(foreign, 1), _constant(keras, 1)
    if kernel is None or wanted is None:
        return
    if kernel.shape != wanted.shape:
        yield f"kernel of shape {list(kernel.shape)} instead of {list(wanted.shape)}"
        return
    axis = 1 if foreign.op_type == "ConvTranspose" else 0
    norms = [node for node in pair.folded if node.op_type == "BatchNormalization"]
    yield from _weights(kernel, wanted, axis, norms)
    if not norms:
        bias, right = _constant(foreign, 2), _constant(keras, 2)
        zero = np.zeros(1)
        if not _close(zero if bias is None else bias, zero if right is None else right):
            yield "other bias"


def _window(pair: Pair) -> Iterator[str]:
    foreign, keras = pair.foreign, pair.keras
    assert keras is not None
    found, wanted = _pads(foreign), _pads(keras)
    if found != wanted:
        half = len(found) // 2
        swapped = found[:half] == wanted[half:] and found[half:] == wanted[:half]
        side = (
            "SAME padding on the wrong side: the odd pixel comes before (left, above) instead of "
            "after (right, below)" if sum(found[:half]) > sum(found[half:]) else
            "SAME padding on the wrong side: the odd pixel comes after instead of before"
        ) if swapped else "other padding"  # fmt: skip
        yield f"{side}: pads {found}, Keras' layer means {wanted}"
    for name, default in (("strides", [1, 1]), ("dilations", [1, 1]), ("kernel_shape", [])):
        a, b = _ints(foreign, name, default), _ints(keras, name, default)
        if a != b and a and b:
            yield f"{name} {a} instead of {b}"


def _weights(kernel: Array, wanted: Array, axis: int, norms: list[ir.Node]) -> Iterator[str]:
    """Compare a kernel with Keras', in which batch normalisation may be folded."""
    factor = np.ones(1)
    for norm in norms:
        factor = factor * _scale(norm, _epsilon(norm))
    sides = [1] * kernel.ndim
    sides[axis] = -1
    right = wanted * factor.reshape(sides)
    if _close(kernel, right):
        return
    for text, changed in _rearranged(right):
        if changed.shape == kernel.shape and _close(kernel, changed):
            yield f"kernel transposed wrongly: {text}"
            return
    if len(norms) == 1 and (text := _other_epsilon(kernel, wanted, axis, norms[0])):
        yield text
        return
    error = float(np.linalg.norm(kernel - right) / (np.linalg.norm(right) or 1.0))
    folded = " (with batch normalisation folded in)" if norms else ""
    yield f"other weights{folded}: the kernel is off by {error:.2g} of itself"


def _rearranged(kernel: Array) -> Iterator[tuple[str, Array]]:
    if kernel.ndim == 4:
        yield "height and width are swapped", kernel.transpose(0, 1, 3, 2)
        yield "it is turned by 180 degrees (flipped)", kernel[:, :, ::-1, ::-1]
        yield "input and output channels are swapped", kernel.transpose(1, 0, 2, 3)
        yield "it is reversed along the height", kernel[:, :, ::-1]
        yield "it is reversed along the width", kernel[:, :, :, ::-1]
    elif kernel.ndim == 2:
        yield "inputs and outputs are swapped", kernel.T


def _other_epsilon(kernel: Array, wanted: Array, axis: int, norm: ir.Node) -> str:
    """Find the epsilon with which a normalisation was folded, "" if there is none such."""
    rows, raw = (np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1) for x in (kernel, wanted))
    ratio = np.sum(rows * raw, axis=1) / np.maximum(np.sum(raw * raw, axis=1), 1e-30)
    if not _close(rows, raw * ratio[:, None], _SCALED):
        return ""
    gamma, variance = _norm_array(norm, 1), _norm_array(norm, 4)
    used = np.abs(ratio) > 1e-12
    implied = (gamma[used] / ratio[used]) ** 2 - variance[used]
    right = _epsilon(norm)
    middle = float(np.median(implied)) if implied.size else right
    if implied.size and np.max(np.abs(implied - middle)) <= 0.2 * abs(middle - right) + 1e-6:
        return f"epsilon of the batch normalisation: about {middle:.1g} instead of {right:.1g}"
    return "other statistics of the batch normalisation: each channel has another factor"


def _normalization(pair: Pair) -> Iterator[str]:
    assert pair.keras is not None
    found, wanted = _epsilon(pair.foreign), _epsilon(pair.keras)
    if not np.isclose(found, wanted, rtol=1e-3):
        yield f"epsilon of the batch normalisation: {found:.1g} instead of {wanted:.1g}"
    for index, name in enumerate(("gamma", "beta", "mean", "variance"), start=1):
        if not _close(_norm_array(pair.foreign, index), _norm_array(pair.keras, index)):
            yield f"other {name}"


def _activations(pair: Pair) -> Iterator[str]:
    assert pair.keras is not None
    found, wanted = _activation(pair.foreign), _activation(pair.keras)
    if found != wanted:
        yield f"{found} instead of {wanted}"


def _activation(node: ir.Node) -> str:
    """Return an activation in words that are equal only for equal activations."""
    if node.op_type == "Clip":
        low, high = (_constant(node, index) for index in (1, 2))
        bounds = ["-inf" if low is None else f"{low.item():g}"]
        bounds.append("inf" if high is None else f"{high.item():g}")
        return "relu6" if bounds == ["0", "6"] else f"clip to {bounds[0]}..{bounds[1]}"
    shown = []
    for name, attribute in sorted(node.attributes.items()):
        if attribute.type == ir.AttributeType.FLOAT:
            shown.append(f"{name} {attribute.as_float():.4g}")
    return " ".join([node.op_type.lower(), *shown])


def _pool(pair: Pair) -> Iterator[str]:
    assert pair.keras is not None
    if pair.foreign.op_type != pair.keras.op_type:
        yield f"{pair.foreign.op_type} instead of {pair.keras.op_type}"
    yield from _window(pair)


def _product(pair: Pair) -> Iterator[str]:
    assert pair.keras is not None
    kernel, wanted = _constant(pair.foreign, 1), _constant(pair.keras, 1)
    if kernel is None or wanted is None:
        return
    flag = pair.foreign.attributes.get("transB")
    kernel = kernel.T if flag is not None and flag.as_int() else kernel
    if wanted.ndim > 2 and wanted.size == wanted.shape[0] * wanted.shape[1]:
        wanted = wanted.reshape(wanted.shape[:2]).T  # a 1 x 1 convolution: O I H W
    if kernel.shape != wanted.shape:
        yield f"kernel of shape {list(kernel.shape)} instead of {list(wanted.shape)}"
    else:
        yield from _weights(kernel, wanted, 1, [])


def _settings(pair: Pair) -> Iterator[str]:
    """Compare the attributes of nodes without a check of their own."""
    assert pair.keras is not None
    if pair.foreign.op_type != pair.keras.op_type:
        yield f"{pair.foreign.op_type} instead of {pair.keras.op_type}"
    for name in sorted({*pair.foreign.attributes, *pair.keras.attributes} - {"axis", "axes"}):
        a, b = pair.foreign.attributes.get(name), pair.keras.attributes.get(name)
        if a is not None and b is not None and a.value != b.value:
            yield f"{name} {a.value} instead of {b.value}"


def _constant(node: ir.Node, index: int) -> Array | None:
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None or value.const_value is None:
        return None
    return value.const_value.numpy().astype(np.float64)


def _norm_array(node: ir.Node, index: int) -> Array:
    found = _constant(node, index)
    return np.ones(1) if found is None else found


def _epsilon(node: ir.Node) -> float:
    attribute = node.attributes.get("epsilon")
    return _DEFAULT_EPSILON if attribute is None else attribute.as_float()


def _scale(norm: ir.Node, epsilon: float) -> Array:
    scale: Array = _norm_array(norm, 1) / np.sqrt(_norm_array(norm, 4) + epsilon)
    return scale


def _ints(node: ir.Node, name: str, default: list[int]) -> list[int]:
    attribute = node.attributes.get(name)
    return default if attribute is None else list(attribute.as_ints())


def _pads(node: ir.Node) -> list[int]:
    """Return explicit pads; those of SAME from the input's size, where it depends on that."""
    kernel = tuple(_ints(node, "kernel_shape", []))
    weight = _constant(node, 1)
    if not kernel and weight is not None:
        kernel = weight.shape[2:]
    pads = conv_pads(node, kernel) if kernel else _ints(node, "pads", [0, 0, 0, 0])
    return _same_pads(node, kernel) if pads is None else list(pads)


def _same_pads(node: ir.Node, kernel: tuple[int, ...]) -> list[int]:
    """Return the pads of ``SAME`` with a stride, for sizes that the stride divides."""
    strides = _ints(node, "strides", [1] * len(kernel))
    totals = [max(0, k - s) for k, s in zip(kernel, strides, strict=True)]
    small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
    upper = node.attributes["auto_pad"].as_string() == "SAME_UPPER"
    return [*small, *large] if upper else [*large, *small]


def _close(found: npt.NDArray[Any], wanted: npt.NDArray[Any], bound: float = _SAME) -> bool:
    try:
        difference = float(np.linalg.norm(found - wanted))
    except ValueError:
        return False
    return difference <= bound * max(float(np.linalg.norm(wanted)), 1e-12)


_CHECKS: dict[str, Callable[[Pair], Iterator[str]]] = {
    "Resize": _resize,
    "Upsample": _resize,
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "BatchNormalization": _normalization,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "MatMul": _product,
    "Gemm": _product,
    **dict.fromkeys(
        ("Relu", "Clip", "LeakyRelu", "Elu", "Selu", "Sigmoid", "HardSigmoid", "Tanh", "Celu"),
        _activations,
    ),
}
