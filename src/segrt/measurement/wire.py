"""What goes between a measurement and the processes of its peers: tasks, and arrays as they lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from segrt._messages import Message
from segrt.measurement.peers._base import Task
from segrt.targets._base import Array
from segrt.targets._engine import serialize
from segrt.types import Precision


def pack_task(task: Task) -> Message:
    """Return a task as a message.

    Raises:
        EngineError: The model is larger than protobuf's 2 GiB.
    """
    fields = {
        "word": "open",
        "inputs": list(task.feeds),
        "arrays": describe(task.feeds.values()),
        "precision": task.precision.value,
        "on_gpu": task.on_gpu,
        "threads": task.threads,
        "mode": task.mode,
    }
    return Message(fields, [serialize(task.model), *map(_bytes, task.feeds.values())])


def unpack_task(message: Message) -> Task:
    """Return the task of a message."""
    fields = message.fields
    arrays = unpack_arrays(fields["arrays"], message.pieces[1:])
    return Task(
        model=ir.from_proto(onnx.load_from_string(message.pieces[0])),
        feeds=dict(zip(fields["inputs"], arrays, strict=True)),
        precision=Precision(fields["precision"]),
        on_gpu=fields["on_gpu"],
        threads=fields["threads"],
        mode=fields["mode"],
    )


def describe(arrays: Iterable[Array]) -> list[tuple[str, tuple[int, ...]]]:
    """Return types and shapes, to be sent beside the arrays' bytes."""
    return [(array.dtype.name, array.shape) for array in arrays]


def pack_arrays(fields: Mapping[str, Any], arrays: Sequence[Array]) -> Message:
    """Return a message that carries arrays."""
    return Message({**fields, "arrays": describe(arrays)}, [_bytes(array) for array in arrays])


def unpack_arrays(
    described: Sequence[tuple[str, Sequence[int]]], pieces: Sequence[bytes]
) -> list[Array]:
    """Return the arrays that a message carries."""
    return [
        np.frombuffer(piece, dtype=np.dtype(name)).reshape(shape)
        for (name, shape), piece in zip(described, pieces, strict=True)
    ]


def _bytes(array: Array) -> bytes:
    return np.ascontiguousarray(array).tobytes()
