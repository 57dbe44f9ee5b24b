"""Write a network's weights in TensorRT's order, under the Keras layers' names.

An imported graph already holds them so: ONNX and TensorRT agree on the order of every kernel.

``O I H W``
    convolution: output channels, input channels of a group, height, width (TensorRT: KCRS).
    Depthwise is the case I = 1, with output channel ``c * multiplier + m``.
``I O H W``
    transposed convolution (TensorRT: CKRS); not flipped.
``I O``
    matrix product ``x @ kernel``, as Keras stores it.
``C``
    one number a channel.

Written are ``<layer>/<weight>`` arrays in float32, and beside them a description: for each array
its axes, the ONNX operator that takes it, and that operator's settings (strides, pads before and
after, dilations, groups, epsilon), which is all one needs to write the layer by hand.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from safetensors.numpy import save_file

from segrt._outputs import check_output
from segrt.errors import UsageError
from segrt.graph import metadata

FORMAT = "segrt-weights-1"
SUFFIXES = (".safetensors", ".h5", ".hdf5")
_KERNELS = {"Conv": "O I H W", "ConvTranspose": "I O H W", "MatMul": "I O", "Gemm": "I O"}
# What the importer calls a weight that it stored in another order than Keras -> Keras' own name.
_KERAS_ROLES = {"alpha_channels_first": "alpha", "kernel_1d": "kernel", "kernel_2d": "kernel"}


@dataclass(frozen=True, slots=True)
class ExportedWeight:
    """One array.

    Attributes:
        name: ``<layer>/<weight>``, such as ``outer/conv/kernel``.
        array: float32, C-contiguous.
        description: ``axes``, ``operator`` and the operator's settings, as JSON values.
    """

    name: str
    array: npt.NDArray[np.float32]
    description: dict[str, Any]


def collect_weights(model: ir.Model) -> list[ExportedWeight]:
    """Return the weights of an imported graph, in the order of computation."""
    found: dict[str, ExportedWeight] = {}
    for node in model.graph:
        for index, value in enumerate(node.inputs):
            if value is None or value.const_value is None or not _is_weight(value.name or ""):
                continue
            name = _keras_name(value.name or "", model.graph)
            if name not in found:
                array = np.ascontiguousarray(value.const_value.numpy(), dtype=np.float32)
                found[name] = ExportedWeight(name, array, _describe(node, index, array.ndim))
    return list(found.values())


def export_weights(model: ir.Model, path: Path) -> list[ExportedWeight]:
    """Write the weights as ``.safetensors`` or HDF5: beside the target, then renamed.

    Raises:
        UsageError: Another suffix, or the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"no format for {path.name}", wanted=", ".join(SUFFIXES))
    if not path.parent.is_dir():
        raise UsageError(f"no such folder: {path.parent}", hint="create it first")
    check_output(path)
    weights = collect_weights(model)
    header = _header(model, weights)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".segrt-") as work:
            fresh = Path(work) / path.name
            if path.suffix.lower() == ".safetensors":
                save_file({one.name: one.array for one in weights}, fresh, metadata=header)
            else:
                _write_hdf5(weights, header, fresh)
            fresh.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}", found=str(error)) from error
    return weights


def _is_weight(name: str) -> bool:
    # Constants that are no weights are called ``<layer>:<role>``.
    _, slash, role = name.rpartition("/")
    return bool(slash) and ":" not in role


def _keras_name(name: str, graph: ir.Graph) -> str:
    layer, _, role = name.rpartition("/")
    keras = f"{layer}/{_KERAS_ROLES.get(role, role)}"
    return name if keras in graph.initializers else keras


def _describe(node: ir.Node, index: int, rank: int) -> dict[str, Any]:
    described: dict[str, Any] = {"axes": _axes(node, index, rank), "operator": node.op_type}
    for name, attribute in node.attributes.items():
        value = attribute.value
        described[name] = list(value) if isinstance(value, tuple | list) else value
    return described


def _axes(node: ir.Node, index: int, rank: int) -> str:
    if index == 1 and node.op_type in _KERNELS:
        letters = _KERNELS[node.op_type]
        # Kernels of other than two dimensions lack H or have D in front.
        return {3: letters[:4] + "W", 5: letters[:4] + "D H W"}.get(rank, letters)
    if rank == 1:
        return "C"
    return {3: "C H W", 4: "1 C H W"}.get(rank, f"{rank} axes, as the operator takes them")


def _header(model: ir.Model, weights: list[ExportedWeight]) -> dict[str, str]:
    source = metadata.source(model)
    return {
        "format": FORMAT,
        "order": "TensorRT: convolution O I H W, deconvolution I O H W, depthwise C*M 1 H W; "
        "padding: pads are before then after, height then width",
        "source": "" if source is None else source.file,
        "source_sha256": "" if source is None else source.sha256,
        "weights": json.dumps({one.name: one.description for one in weights}),
    }


def _write_hdf5(weights: list[ExportedWeight], header: Mapping[str, str], path: Path) -> None:
    """Write each array as the dataset ``/<layer>/<weight>`` with its description in attributes."""
    with h5py.File(path, "w") as file:
        for key, text in header.items():
            # Descriptions lie at the datasets: attributes of the root are limited to 64 KiB.
            if key != "weights":
                file.attrs[key] = text
        for one in weights:
            dataset = file.create_dataset(one.name, data=one.array)
            for key, value in one.description.items():
                dataset.attrs[key] = value
