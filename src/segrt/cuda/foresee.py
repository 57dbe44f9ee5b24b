"""What the engine refuses later than its partition does, found out without a GPU.

A network is planned as on a GPU, for addresses that nothing lies at, and every operation is asked
for its ways with own kernels. The library is not asked, and need not be: what it computes, an own
kernel of last resort computes too. What remains unknown is whether memory suffices.
"""

from __future__ import annotations

from typing import cast

import onnx_ir as ir

from segrt._optional import is_installed
from segrt.cuda.choices import Chooser
from segrt.cuda.driver import Gpu, compile_source
from segrt.cuda.jobs import Job, Proposal, can_be_built
from segrt.cuda.memory import ALIGNMENT_BYTES
from segrt.cuda.operations import Custom
from segrt.cuda.planning import blamed, jobs_of, plan_program, read_program
from segrt.errors import SegrtError
from segrt.types import Precision

# Generations whose own kernels differ: the one with kernels of its own, and all others.
CAPABILITIES = ((9, 0), (8, 0))


class AbstractGpu:
    """Stands for a GPU where nothing but its generation is asked."""

    def __init__(self, capability: tuple[int, int]) -> None:
        self.capability = capability
        self.architecture = f"sm_{capability[0]}{capability[1]}"


def late_refusals(
    model: ir.Model, precision: Precision, capability: tuple[int, int]
) -> dict[str, str]:
    """Return why layers are refused when the network is planned.

    Args:
        model: A graph whose sizes are all known and that the partition takes.
        precision: What to compute in.
        capability: Of the GPU.

    Raises:
        UnsupportedLayerError: The partition refuses some layers.
    """
    gpu = AbstractGpu(capability)
    refused: dict[str, str] = {}
    for job in planned_jobs(model, precision, capability):
        try:
            _try(job, gpu, precision)
        except SegrtError as error:
            refused[job.operation.layer] = blamed(job, error).message
    return refused


def planned_jobs(model: ir.Model, precision: Precision, capability: tuple[int, int]) -> list[Job]:
    """Return the jobs of a network, for addresses that nothing lies at."""
    program = read_program(model, precision, capability)
    plan = plan_program(program, precision, capability)
    ends = [place.buffer for place in (*plan.inputs.values(), *plan.outputs.values())]
    return jobs_of(plan, dict.fromkeys([*plan.buffers, *ends], ALIGNMENT_BYTES))


def _try(job: Job, gpu: AbstractGpu, precision: Precision) -> None:
    """Ask for all ways; compile the user's own source, the only one not tried before."""
    ways = list(Chooser(cast(Gpu, gpu), None, precision).proposals(job))
    can_be_built(ways)
    if isinstance(job.operation, Custom) and is_installed("cuda.core"):
        _compile(ways, gpu)


def _compile(ways: list[Proposal], gpu: AbstractGpu) -> None:
    for launch in (launch for way in ways for launch in way.launches):
        compile_source(launch.source, gpu.architecture, launch.entry)
