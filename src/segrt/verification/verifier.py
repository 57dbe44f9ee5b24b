"""The verification itself: match names, compare in the whole run, alone, and as deployed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.errors import UsageError
from segrt.graph.ends import read_ends
from segrt.graph.size_ranges import nearest_in_range, range_of
from segrt.graph.specs import input_specs
from segrt.verification._inner import DEFAULT_BUDGET_BYTES
from segrt.verification._layers import compare_layers
from segrt.verification._outputs import compare_outputs
from segrt.verification._plan import Plan
from segrt.verification._rows import Names, layer_row
from segrt.verification.candidate import locate
from segrt.verification.ends import WithEnds
from segrt.verification.reference import (
    ImportedGraph,
    KerasOptions,
    Reference,
    choose_reference,
)
from segrt.verification.report import Report
from segrt.verification.subject import Subject
from segrt.verification.tolerance import Tolerance, tolerance_of

Array: TypeAlias = npt.NDArray[Any]

# Size of a free axis of a random input: a multiple of 32, as nets with five poolings need.
_FREE_SIZE = 128
# The same for volumes, which have an axis more.
_FREE_SIZE_3D = 32


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """How to verify.

    Attributes:
        tolerance: What is allowed; None takes what `tolerance_of` lays down for the precision.
        threshold: Makes masks of one-channel outputs; None decides by the last operator
            (`segrt.verification.segmentation`).
        band_px: Width of the boundary band on either side.
        budget_bytes: The most bytes of inner values held at a time.
        architecture: JSON description, where the reference is a Keras file of weights only.
        custom_objects: Keras classes of your own, where the reference is a Keras file.
        allow_code: Let Keras run the Lambda code of such a file.
    """

    tolerance: Tolerance | None = None
    threshold: float | None = None
    band_px: int = 2
    budget_bytes: int = DEFAULT_BUDGET_BYTES
    architecture: Path | None = None
    custom_objects: Mapping[str, Any] = field(default_factory=dict)
    allow_code: bool = False


def verify_package(
    subject: Subject,
    *,
    against: Path | None = None,
    inputs: Mapping[str, Array] | None = None,
    options: VerifyOptions | None = None,
) -> Report:
    """Compare a package with a reference, layer by layer.

    Args:
        subject: The package.
        against: A recording (``.npz``), a Keras model file, or None for the imported graph.
        inputs: What to feed a reference with that brings no inputs of its own, by input name and
            in the source's layout. None: one random image, uniform in 0..1 from seed 0, with 128
            for every free size, or what its range has next to that.
        options: See `VerifyOptions`.

    Raises:
        UsageError: The reference does not exist, or its inputs do not fit the package.
        RecordingError: The recording is damaged.
        ModelFileError: The model file is not the package's, and Keras is not there to run it.
        UnavailableError: No tolerance is laid down for the precision.
        EngineError: The target failed to run the graph.
    """
    options = options or VerifyOptions()
    tolerance = options.tolerance or tolerance_of(subject.precision)
    reference, remarks = choose_reference(
        against,
        subject.imported,
        random_inputs(subject.lowered) if inputs is None else inputs,
        inputs_given=inputs is not None,
        keras=KerasOptions(
            options.architecture, options.custom_objects, allow_code=options.allow_code
        ),
        budget_bytes=options.budget_bytes,
    )
    try:
        ends = read_ends(subject.imported)
        if ends and not isinstance(reference, ImportedGraph):
            return _compare(subject, WithEnds(reference, ends), tolerance, options, remarks)
        return _compare(subject, reference, tolerance, options, remarks)
    finally:
        reference.close()


def random_inputs(model: ir.Model) -> dict[str, Array]:
    """Return one random image for every input of a graph; see `verify_package`."""
    rng = np.random.default_rng(0)
    inputs: dict[str, Array] = {}
    for value in model.graph.inputs:
        if value.shape is None or value.dtype is None or value.name is None:
            raise UsageError(f"the shape of input {value.name!r} is unknown", hint="give inputs")
    for spec in input_specs(model):
        side = _FREE_SIZE if len(spec.shape) < 5 else _FREE_SIZE_3D
        free = [1] + [side] * (len(spec.shape) - 1)
        sizes = [
            size or nearest_in_range(other, range_of(spec, axis))
            for axis, (size, other) in enumerate(zip(spec.shape, free, strict=True))
        ]
        dtype = np.dtype(spec.dtype)
        uniform = rng.random(sizes)
        inputs[spec.name] = (uniform if dtype.kind == "f" else uniform * 255).astype(dtype)
    return inputs


def _compare(
    subject: Subject,
    reference: Reference,
    tolerance: Tolerance,
    options: VerifyOptions,
    remarks: list[str],
) -> Report:
    inputs = _matched_inputs(reference.inputs(), subject.lowered)
    names = Names(
        locate(subject.imported),
        locate(subject.lowered),
        reference.names(),
        frozenset(reference.loose),
    )
    places = names.shared()
    # A quarter: candidate and reference are held together, with copies for the layout.
    budget_bytes = max(1, options.budget_bytes // 4)
    carriers = [place.value for place in places.values()]
    plan = Plan.make(subject.lowered, inputs, carriers, budget_bytes)
    figures = compare_layers(
        subject.lowered,
        subject.open_model,
        reference,
        plan,
        places=places,
        upsampling=names.upsampling(),
    )
    with subject.open() as session:
        outputs = tuple(
            compare_outputs(
                session,
                subject.imported,
                reference,
                plan,
                tolerance,
                threshold=options.threshold,
                band_px=options.band_px,
            )
        )
    return Report(
        subject=subject.name,
        reference=reference.kind,
        precision=subject.precision.value,
        images=plan.images,
        rows=tuple(layer_row(name, names, figures, tolerance) for name in names.ordered()),
        outputs=outputs,
        remarks=(*remarks, *figures.remarks),
    )


def _matched_inputs(arrays: Mapping[str, Array], model: ir.Model) -> dict[str, Array]:
    """Return the reference's inputs if they are those of the package.

    Raises:
        UsageError: Names differ, or there is no image.
    """
    wanted = [str(value.name) for value in model.graph.inputs]
    if set(arrays) != set(wanted):
        raise UsageError(
            "the reference's inputs are not those of the package",
            found=", ".join(sorted(arrays)) or "none",
            wanted=", ".join(wanted),
        )
    counts = {array.shape[:1] for array in arrays.values()}
    if len(counts) != 1 or counts in ({(0,)}, {()}):
        raise UsageError("inputs need one common batch size of at least 1 as their first axis")
    return {name: arrays[name] for name in wanted}
