"""What a package brings to test itself with: the imported graph, one input, and what it gives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx_ir as ir

from segrt.targets._engine import save_model
from segrt.targets._measure import sample_feeds
from segrt.targets.onnxruntime import OnnxRuntime
from segrt.types import BuildOptions

GRAPH, RECORDING = "imported.onnx", "selftest.npz"
_SIDE = 64


def record(model: ir.Model, folder: Path, threads: int | None = None) -> None:
    """Write the imported graph, and its outputs by ONNX Runtime in fp32 for one seeded input.

    Args:
        model: The imported graph.
        folder: Of the package.
        threads: Of ONNX Runtime; None leaves them to it.

    Raises:
        EngineError: ONNX Runtime refuses the graph or fails, or the graph is too large for a file.
    """
    save_model(model, folder / GRAPH)
    feeds = sample_feeds(model, side=_SIDE)
    # From the file, so that the weights are not put into bytes once more.
    options = BuildOptions(threads=threads)
    with OnnxRuntime().open_file(model, folder / GRAPH, options) as session:
        outputs = session.run(feeds)
    arrays = {f"input/{name}": array for name, array in feeds.items()}
    arrays |= {f"output/{name}": array for name, array in outputs.items()}
    np.savez_compressed(folder / RECORDING, **arrays)  # type: ignore[arg-type]


@contextmanager
def recorded_beside(model: ir.Model, folder: Path, *, alone: bool) -> Iterator[None]:
    """Record while an engine is built.

    Both take seconds, use different libraries, and only read the weights they share.

    Args:
        model: The imported graph.
        folder: Of the package.
        alone: Record afterwards: building takes times that decide.

    Raises:
        EngineError: See `record`; raised at the end, if building did not fail.
    """
    if alone:
        yield
        record(model, folder)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="segrt-selftest") as worker:
        # Half of the processor: threads that wait for one another are slow beside others.
        threads = max(1, (os.cpu_count() or 1) // 2)
        recording = worker.submit(record, model, folder, threads)
        yield
        recording.result()
