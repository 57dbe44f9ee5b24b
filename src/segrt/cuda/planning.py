"""From a graph to jobs: all that is decided before any device memory is taken."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from segrt.cuda.fuse import fuse
from segrt.cuda.jobs import Job
from segrt.cuda.merge import merge_steps
from segrt.cuda.operations import Program
from segrt.cuda.partition import partition
from segrt.cuda.plan import Place, Plan, make_plan
from segrt.cuda.quantisation import read_quantisation
from segrt.cuda.recognise import recognise
from segrt.cuda.settle import settle
from segrt.cuda.unsigned import drop_signs
from segrt.cuda.views import storage
from segrt.errors import DeviceMemoryError, SegrtError, UnsupportedLayerError
from segrt.types import Precision


def read_program(model: ir.Model, precision: Precision, capability: tuple[int, int]) -> Program:
    """Read a graph whose sizes are all known, for a GPU of this compute capability.

    Raises:
        UnsupportedLayerError: The engine has no implementation for some layers.
    """
    if precision is Precision.INT8:
        model = read_quantisation(model)
    return drop_signs(settle(fuse(partition(recognise(model)))), capability)


def plan_program(program: Program, precision: Precision, capability: tuple[int, int]) -> Plan:
    """Place the values of a program and merge steps that one launch computes."""
    return merge_steps(make_plan(program, storage(precision)), capability)


def jobs_of(plan: Plan, addresses: Mapping[str, int]) -> list[Job]:
    """Return a plan's steps with the memory they read and write.

    Args:
        plan: Of a program.
        addresses: Where each buffer begins.
    """
    return [
        Job(
            operation,
            tuple(place.view for place in sources),
            tuple(_address(place, addresses) for place in sources),
            target.view,
            _address(target, addresses),
        )
        for operation, sources, target in plan.steps
    ]


def blamed(job: Job, error: SegrtError) -> SegrtError:
    """Return an error of one job, with the layer's name; too little memory is no layer's fault."""
    if isinstance(error, (DeviceMemoryError, UnsupportedLayerError)):
        return error
    layer, kind = job.operation.layer, type(job.operation).__name__
    found = f": {error.found}" if error.found else ""
    wanted = f", wanted {error.wanted}" if error.wanted else ""
    return UnsupportedLayerError(
        f"the CUDA engine cannot compute layer {layer!r}: {error.message}{found}{wanted}",
        [(layer, kind)],
        hint=error.hint,
    )


def _address(place: Place, addresses: Mapping[str, int]) -> int:
    before = place.first * place.view.image_bytes + place.view.offset * place.view.item_bytes
    return addresses[place.buffer] + before
