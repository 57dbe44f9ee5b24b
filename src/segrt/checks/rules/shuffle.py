"""What only moves numbers: transposes, reshapes, pixel shuffles."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import rewritten, supported


@rule("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "DepthToSpace", "SpaceToDepth")
def shuffle(place: Place, release: Release) -> Ruling:
    """Answer for IShuffleLayer; sizes that are computed need tensors that hold shapes."""
    sizes = place.node.inputs[1] if len(place.node.inputs) > 1 else None
    if sizes is not None and sizes.const_value is None and not release.has("shape-tensors"):
        text = "sizes are computed: fix the image size, then they are constants"
        return rewritten("TRT-SHUFFLE-SIZES", text, release, "shape-tensors", "fixed size")
    text = f"IShuffleLayer ({place.node.op_type})"
    return supported("TRT-SHUFFLE", text, release, "shuffle")


@rule("Identity", "Dropout")
def identity(_place: Place, release: Release) -> Ruling:
    """Answer for what does nothing at inference."""
    return supported("TRT-NOTHING", "nothing is computed: left out", release, "identity")


@rule("Shape")
def shape(_place: Place, release: Release) -> Ruling:
    """Answer for reading a tensor's sizes."""
    if release.has("shape-tensors"):
        return supported("TRT-SHAPE", "IShapeLayer", release, "shape-tensors")
    text = "sizes are computed: fix the image size, then they are constants"
    return rewritten("TRT-SHAPE", text, release, "shape-tensors", "fixed size")


@rule("Expand")
def expand(_place: Place, release: Release) -> Ruling:
    """Answer for repeating along axes of size 1."""
    if release.has("broadcast-slice"):
        return supported("TRT-EXPAND", "ISliceLayer of stride 0", release, "broadcast-slice")
    text = "IConcatenationLayer of the tensor with itself"
    return rewritten("TRT-EXPAND", text, release, "concatenation", "concatenated with itself")
