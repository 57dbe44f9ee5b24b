"""Record what is put on a stream as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from segrt.cuda.driver import Gpu


def record(gpu: Gpu, run: Callable[[], object]) -> Any:
    """Return a graph of all that ``run`` puts on the GPU's stream; nothing is run yet.

    If ``run`` fails, the recording is ended before the error goes on, so that the stream stays
    usable.
    """
    builder = gpu.stream.create_graph_builder()
    builder.begin_building()
    try:
        run()
    except BaseException:
        builder.end_building()
        builder.close()
        raise
    builder.end_building()
    graph = builder.complete()
    builder.close()
    return graph
