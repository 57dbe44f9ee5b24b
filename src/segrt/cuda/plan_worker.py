"""What a process does that builds cuDNN's plans for another one: see `segrt.cuda.plan_builders`."""

from __future__ import annotations

import os
import sys
from typing import IO

from segrt.cuda.cudnn_graph import ConvolutionGraph, Library, convolution_graph
from segrt.cuda.driver import Gpu
from segrt.cuda.graph_specs import GraphSpec, PlanId
from segrt.cuda.plan_protocol import read_request, write_answer
from segrt.errors import EngineError


def main(device: int) -> None:
    """Answer on stdout what is asked on stdin, until that ends."""
    answers = os.fdopen(os.dup(1), "wb")
    # What libraries print must not be taken for answers.
    os.dup2(2, 1)
    library = Library(Gpu(device))
    serve(library, sys.stdin.buffer, answers)


def serve(library: Library, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Build one plan after the other."""
    graphs: dict[GraphSpec, ConvolutionGraph | None] = {}
    while (plan := read_request(requests)) is not None:
        if plan.spec not in graphs:
            graphs[plan.spec] = convolution_graph(library, plan.spec)
        write_answer(answers, *_built(graphs[plan.spec], plan))


def _built(graph: ConvolutionGraph | None, plan: PlanId) -> tuple[bytes, str]:
    if graph is None or plan not in graph.plans(plan.index + 1):
        return b"", "its graph has other plans here"
    try:
        return graph.build(plan).written, ""
    except EngineError as error:
        return b"", str(error)
