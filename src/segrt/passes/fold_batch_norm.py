"""Multiply batch normalisation into the weights of the convolution before or behind it.

In inference ``bn(x) = x * scale + shift`` per channel, with ``scale = gamma / sqrt(var + epsilon)``
and ``shift = beta - mean * scale``, computed here in float64.

Before: always exact. Behind (``conv(bn(x))``): exact only without padding, because a padded zero
is a zero *after* the normalisation. Where neither holds, the node stays: every engine has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph import metadata
from segrt.graph.builder import static_shape
from segrt.passes._base import REGISTRY, PassContext
from segrt.passes._operators import conv_pads
from segrt.passes._proof import noise, prove
from segrt.passes._rewrite import (
    Rewriter,
    constant_array,
    nodes_of,
    only_consumer,
    refusal,
    replace,
    subject_of,
)
from segrt.types import Certificate, Verdict

Array: TypeAlias = npt.NDArray[Any]
FloatArray: TypeAlias = npt.NDArray[np.float64]

# Weights widened to float64 at a time: keeps the extra memory near 10 MB.
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Affine:
    """``y = x * scale + shift``, one value a channel."""

    scale: FloatArray
    shift: FloatArray


class FoldBatchNorm:
    """See the module's docstring."""

    name = "fold_batch_norm"

    def __call__(self, model: ir.Model, _context: PassContext, /) -> Sequence[Verdict]:
        """Fold every BatchNormalization that folds exactly."""
        rewriter = Rewriter(model.graph)
        verdicts = []
        for node in nodes_of(model.graph, "BatchNormalization"):
            subject = subject_of(node.outputs[0])
            refusals = []
            for fold in (_fold_backward, _fold_forward):
                try:
                    with rewriter.attempt():
                        reason, certificate = fold(rewriter, node)
                except PassError as error:
                    refusals.append(refusal(error))
                    continue
                verdicts.append(Verdict(self.name, subject, True, reason, certificate))
                break
            else:
                reason = "stays a BatchNormalization: " + "; ".join(refusals)
                verdicts.append(Verdict(self.name, subject, False, reason))
        return verdicts


def _affine(node: ir.Node) -> Affine:
    arrays = [constant_array(value) for value in node.inputs[1:5]]
    training = node.attributes.get("training_mode")
    if any(array is None for array in arrays) or len(node.outputs) > 1:
        raise PassError("its statistics are not constant")
    if training is not None and training.as_int():
        raise PassError("it is in training mode")
    gamma, beta, mean, variance = (np.asarray(array, dtype=np.float64) for array in arrays)
    attribute = node.attributes.get("epsilon")
    epsilon = 1e-5 if attribute is None else attribute.as_float()
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + epsilon)
    shift = beta - mean * scale
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        raise PassError("its statistics give infinite or undefined factors")
    return Affine(scale, shift)


def _fold_backward(rewriter: Rewriter, node: ir.Node) -> tuple[str, Certificate]:
    """Fold into the Conv, ConvTranspose or Gemm whose output is normalised."""
    value = node.inputs[0]
    before = None if value is None else value.producer()
    if value is None or before is None or before.op_type not in _OUTPUT_AXES:
        what = "a graph input" if before is None else before.op_type
        raise PassError(f"before it stands {what}, no convolution")
    if only_consumer(value) is not node:
        raise PassError(f"the value before normalisation, {value.name!r}, is used elsewhere too")
    affine = _affine(node)
    rewriter.at(node)
    weight, bias = _scaled_weights(before, affine)
    new = _rebuild(rewriter, before, weight, bias)
    source = before.inputs[0]
    if source is None:
        raise PassError("the convolution before it has no input")
    probe = noise(_probe_shape(before, source))
    certificate = prove(
        node.outputs[0], new, {source: probe}, claim="up to rounding", what="float64 probe"
    )
    metadata.fold_tags(value, node.outputs[0], affine.scale, affine.shift)
    replace(node.outputs[0], new)
    return f"multiplied into {before.name!r}", certificate


# Which axis of the weight counts output channels; Gemm's depends on transB.
_OUTPUT_AXES = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1}


def _scaled_weights(before: ir.Node, affine: Affine) -> tuple[Array, Array]:
    weight = constant_array(before.inputs[1])
    bias_value = before.inputs[2] if len(before.inputs) > 2 else None
    bias = constant_array(bias_value)
    if weight is None or (bias_value is not None and bias is None):
        raise PassError(f"the weights of {before.name!r} are not constant")
    if before.op_type == "Gemm":
        _check_gemm(before, bias)
    offset = np.zeros(1) if bias is None else bias.astype(np.float64).reshape(-1)
    new_bias = (offset * affine.scale + affine.shift).astype(np.float32)
    if before.op_type == "ConvTranspose":
        # (C, K/groups, kh, kw): output channel = group * (K/groups) + second axis
        groups = before.attributes["group"].as_int() if "group" in before.attributes else 1
        by_group = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        factors = affine.scale.reshape(groups, 1, weight.shape[1], *[1] * (weight.ndim - 2))
        return _times(by_group, factors).reshape(weight.shape), new_bias
    transposed = before.attributes.get("transB")
    axis = _OUTPUT_AXES[before.op_type]
    if transposed is not None and transposed.as_int():
        axis = 0
    shape = [1] * weight.ndim
    shape[axis] = -1
    return _times(weight, affine.scale.reshape(shape)), new_bias


def _check_gemm(node: ir.Node, bias: Array | None) -> None:
    for name in ("alpha", "beta"):
        if name in node.attributes and node.attributes[name].as_float() != 1.0:
            raise PassError(f"{name} of the Gemm before it is not 1")
    if bias is not None and bias.size != bias.shape[-1]:
        raise PassError("the Gemm before it adds a matrix")


def _times(weight: Array, factors: FloatArray) -> npt.NDArray[np.float32]:
    """Return ``weight * factors``, multiplied in float64 and rounded once."""
    result = np.empty(weight.shape, dtype=np.float32)
    rows = max(1, _CHUNK // max(1, weight[0].size))
    whole = np.broadcast_to(factors, (weight.shape[0], *factors.shape[1:]))
    for start in range(0, weight.shape[0], rows):
        piece = slice(start, start + rows)
        result[piece] = weight[piece] * whole[piece]
    return result


def _rebuild(rewriter: Rewriter, node: ir.Node, weight: Array, bias: Array) -> ir.Value:
    """Insert ``node`` again with other weights."""
    name = node.inputs[1].name if node.inputs[1] is not None else node.name
    inputs = [
        node.inputs[0],
        rewriter.constant(f"{name}:folded", weight),
        rewriter.constant(f"{node.name}:bias_folded", bias),
    ]
    new = rewriter.op(node.op_type, inputs, name=f"{node.name}:folded", **dict(node.attributes))
    producer = new.producer()
    if producer is not None:
        producer.metadata_props.update(node.metadata_props)
    return new


def _probe_shape(node: ir.Node, source: ir.Value) -> tuple[int, ...]:
    """Return a small shape: one image just larger than the kernel, all channels."""
    shape = static_shape(source)
    weight = node.inputs[1]
    if len(shape) < 2 or shape[1] is None or weight is None or weight.shape is None:
        raise PassError("the number of channels is unknown")
    dilations = node.attributes.get("dilations")
    kernel = [size or 1 for size in static_shape(weight)[2:]]
    spread = [1] * len(kernel) if dilations is None else list(dilations.as_ints())
    if node.op_type == "ConvTranspose":
        return (1, shape[1], *(3 + index for index in range(len(shape) - 2)))
    extent = [(k - 1) * d + 2 + i for i, (k, d) in enumerate(zip(kernel, spread, strict=False))]
    return (1, shape[1], *extent[: len(shape) - 2])


def _fold_forward(rewriter: Rewriter, node: ir.Node) -> tuple[str, Certificate]:
    """Fold into the unpadded Conv that alone reads the normalised value."""
    value, normal = node.inputs[0], node.outputs[0]
    behind = only_consumer(normal)
    if value is None or behind is None or behind.op_type != "Conv":
        raise PassError("behind it is not just one convolution")
    affine = _affine(node)
    weight, bias = _absorbed_weights(behind, affine)
    carries = metadata.keras_name(normal) or metadata.recoveries(normal)
    if carries and (affine.scale == 0).any():
        raise PassError("a channel's scale is 0, so the normalised value could not be recovered")
    rewriter.at(behind)
    probe = noise(_probe_shape(behind, value))
    folded = _rebuild(rewriter, behind, weight, bias)
    producer = folded.producer()
    if producer is not None:
        producer.replace_input_with(0, value)
    certificate = prove(
        behind.outputs[0], folded, {value: probe}, claim="up to rounding", what="float64 probe"
    )
    # normal = value * scale + shift: what normal carried is read off value again.
    inverse = 1 / np.where(affine.scale == 0, 1, affine.scale)
    metadata.fold_tags(normal, value, inverse, -affine.shift * inverse)
    replace(behind.outputs[0], folded)
    return f"multiplied into {behind.name!r}, which does not pad", certificate


def _absorbed_weights(behind: ir.Node, affine: Affine) -> tuple[Array, Array]:
    weight = constant_array(behind.inputs[1])
    bias_value = behind.inputs[2] if len(behind.inputs) > 2 else None
    bias = constant_array(bias_value)
    groups = behind.attributes["group"].as_int() if "group" in behind.attributes else 1
    if weight is None or (bias_value is not None and bias is None) or groups != 1:
        raise PassError("the convolution behind it is grouped or has no constant weights")
    pads = conv_pads(behind, weight.shape[2:])
    if pads is None or any(pads):
        raise PassError(
            "the convolution behind it pads with zeros, which are zeros after normalisation"
        )
    shape = (1, -1, *[1] * (weight.ndim - 2))
    taps = weight.sum(axis=tuple(range(2, weight.ndim)), dtype=np.float64)
    offset = taps @ affine.shift + (0.0 if bias is None else bias.astype(np.float64))
    return _times(weight, affine.scale.reshape(shape)), offset.astype(np.float32)


REGISTRY.register(FoldBatchNorm.name)(FoldBatchNorm())
