"""Merged upsampling in two launches: its phases in scratch memory, and their shuffle behind."""

from __future__ import annotations

from dataclasses import replace

from segrt.cuda.driver import Gpu
from segrt.cuda.jobs import Choice, Job, Proposal, find_kernel
from segrt.cuda.kernels.pixel_shuffle import PixelShuffleSpec
from segrt.cuda.views import View


def with_shuffle(
    gpu: Gpu, job: Job, phases: View, proposal: Proposal, *, depth: int = 1
) -> Proposal:
    """Return a proposal of phases with their shuffle behind it.

    Args:
        gpu: Where to.
        job: The whole.
        phases: How they lie at the beginning of the scratch memory.
        proposal: What computes them.
        depth: Images that each one becomes.
    """
    kernel = find_kernel("pixel_shuffle")
    spec = PixelShuffleSpec(phases, job.target, 2, phase_first=True, depth=depth)
    launch = kernel.launch(spec)

    def make() -> Choice:
        first = proposal.make()
        compiled, config = gpu.kernel(launch), gpu.configuration(launch)

        def run(scratch: int) -> None:
            first.run(scratch)
            gpu.put(config, compiled, [scratch, job.output])

        return replace(first, run=run)

    return replace(proposal, make=make, launches=(*proposal.launches, launch))
