"""The library's own word, where it is installed: TensorRT for RTX builds without a GPU."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx_ir as ir

from segrt.checks._base import Ruling, Support
from segrt.checks._release import Release
from segrt.errors import SegrtError, UsageError
from segrt.graph.size_multiple import needed_multiple
from segrt.graph.size_ranges import apply_sizes
from segrt.graph.specs import input_specs, spatial_axes
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets._base import REGISTRY, Target
from segrt.types import BuildOptions

RTX_TARGET = "tensorrt-rtx"
_USUAL_SIDE, _USUAL_DEPTH = 256, 64  # of images, and of volumes
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
        size = _build(target, model)
    except UsageError as error:
        # A size or a range is missing: nothing that speaks against the layers.
        return (), f"{_NOT}: {error.message}"
    except SegrtError as error:
        reason = f"{error.message}: {error.found}" if error.found else error.message
        ruling = Ruling("RTX-BUILD", Support.BLOCKED, reason, f"{available.detail}, asked here")
        return (ruling,), f"{available.detail} refused to build it"
    at = f", with images of {'x'.join(map(str, size))}" if size is not None else ""
    text = f"{available.detail} built the whole network{at}"
    return (Ruling("RTX-BUILD", Support.SUPPORTED, text, "asked here"),), "confirmed by building"


def _build(target: Target, model: ir.Model) -> tuple[int, ...] | None:
    """Build it for one image; returns the size that was put in place of a free one."""
    size = _size(model)
    options = target.resolve(model, BuildOptions(batch=1, size=size))
    fixed = apply_sizes(model, batch=options.batch, size=options.size)
    wanted = target.lowerings(fixed, options)[0]
    lowered, _ = lower(
        fixed, PassContext(wanted.upsampling_forms, extra_passes=wanted.extra_passes)
    )
    with tempfile.TemporaryDirectory(prefix="segrt-") as folder:
        target.build((lowered,), options, Path(folder))
    return size


def _size(model: ir.Model) -> tuple[int, ...] | None:
    """Return a size that the network takes, where it leaves its size free."""
    specs = input_specs(model)
    multiple = needed_multiple(model)
    if all(None not in spec.shape[1:] for spec in specs) or multiple is None:
        return None
    count = max(len(spatial_axes(spec) or ()) for spec in specs)
    usual = _USUAL_SIDE if count < 3 else _USUAL_DEPTH
    return (-(-usual // multiple) * multiple,) * count or None
