"""What a process does that builds cuDNN's plans for another one: see `segrt.cuda.plan_builders`."""

from __future__ import annotations

from typing import IO

from segrt._child import take_streams
from segrt._messages import read, write
from segrt.cuda.cudnn_graph import ConvolutionGraph, Library, convolution_graph
from segrt.cuda.driver import Gpu
from segrt.cuda.graph_specs import GraphSpec, PlanId
from segrt.cuda.plan_protocol import answer, requested
from segrt.errors import EngineError


def main(device: str) -> None:
    """Answer what is asked, until that ends."""
    requests, answers = take_streams()
    serve(Library(Gpu(int(device))), requests, answers)


def serve(library: Library, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Build one plan after the other."""
    graphs: dict[GraphSpec, ConvolutionGraph | None] = {}
    while (message := read(requests)) is not None:
        plan = requested(message)
        if plan.spec not in graphs:
            graphs[plan.spec] = convolution_graph(library, plan.spec)
        write(answers, answer(*_built(graphs[plan.spec], plan)))


def _built(graph: ConvolutionGraph | None, plan: PlanId) -> tuple[bytes, str]:
    if graph is None or plan not in graph.plans(plan.index + 1):
        return b"", "its graph has other plans here"
    try:
        return graph.build(plan).written, ""
    except EngineError as error:
        return b"", str(error)
