"""Check a model against whatever a target's name stands for."""

from __future__ import annotations

import onnx_ir as ir

from segrt.checks._base import CheckReport
from segrt.checks._engines import check_engine, engine_names
from segrt.checks._parse import parse_gpu, parse_target
from segrt.checks._tensorrt import check_tensorrt
from segrt.errors import UsageError


def check_model(model: ir.Model, target: str, gpu: str | None = None) -> CheckReport:
    """Say of every Keras layer whether a target runs it.

    Args:
        model: As imported; not changed.
        target: ``tensorrt:8.6``, ``rtx:1.7``, ``jetpack:6.2``, or an engine's name.
        gpu: Compute capability, such as ``8.6``; for TensorRT only.

    Raises:
        UsageError: An unknown target, version or GPU.
    """
    found = parse_target(target, engine_names())
    if isinstance(found, str):
        if gpu is not None:
            raise UsageError(f"--gpu says nothing about {found}", found=gpu)
        return check_engine(model, found)
    return check_tensorrt(model, found, None if gpu is None else parse_gpu(gpu))
