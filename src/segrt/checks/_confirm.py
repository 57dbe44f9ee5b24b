"""The library's own word, where it is installed: TensorRT for RTX builds without a GPU."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx_ir as ir

from segrt.checks._base import Ruling, Support
from segrt.checks._release import Release
from segrt.errors import SegrtError, UsageError
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets._base import REGISTRY, Target
from segrt.types import BuildOptions

RTX_TARGET = "tensorrt-rtx"
_NOT = "not confirmed by building"


def confirm(model: ir.Model, release: Release) -> tuple[tuple[Ruling, ...], str]:
    """Build the model with the library that is installed, where that needs no GPU.

    Returns:
        The ruling of the library, if it was asked, and a remark about that.
    """
    if release.flavour != "rtx":
        return (), f"{_NOT}: TensorRT builds only where a GPU is"
    target = REGISTRY.find(RTX_TARGET)
    if target is None:
        return (), f"{_NOT}: this version of SegRT has no target {RTX_TARGET!r}"
    available = target.availability()
    if not available.can_build:
        return (), f"{_NOT}: {available.detail}"
    try:
        _build(target, model)
    except UsageError as error:
        # A size or a range is missing: nothing that speaks against the layers.
        return (), f"{_NOT}: {error.message}"
    except SegrtError as error:
        reason = f"{error.message}: {error.found}" if error.found else error.message
        ruling = Ruling("RTX-BUILD", Support.BLOCKED, reason, f"{available.detail}, asked here")
        return (ruling,), f"{available.detail} refused to build it"
    text = f"{available.detail} built the whole network"
    return (Ruling("RTX-BUILD", Support.SUPPORTED, text, "asked here"),), "confirmed by building"


def _build(target: Target, model: ir.Model) -> None:
    options = BuildOptions()
    wanted = target.lowerings(model, options)[0]
    lowered, _ = lower(model, PassContext(wanted.upsampling_forms))
    with tempfile.TemporaryDirectory(prefix="segrt-") as folder:
        target.build((lowered,), options, Path(folder))
