"""What goes between an engine and the processes that build plans for it: lines of JSON, and bytes.

A request is a line. An answer is a line, which says how many bytes follow it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import IO, Any

from segrt.cuda.graph_specs import GraphSpec, PlanId
from segrt.cuda.views import View
from segrt.types import Precision


def write_request(stream: IO[bytes], plan: PlanId) -> None:
    """Ask for a plan."""
    _write_line(stream, asdict(plan))


def read_request(stream: IO[bytes]) -> PlanId | None:
    """Return which plan is asked for; None at the end."""
    line = stream.readline()
    if not line:
        return None
    fields = json.loads(line)
    spec = fields["spec"]
    for name in ("kernel", "before", "after", "stride", "dilation"):
        spec[name] = tuple(spec[name])
    spec["views"] = tuple(map(_view, spec["views"]))
    spec["precision"] = Precision(spec["precision"])
    return PlanId(**fields | {"spec": GraphSpec(**spec)})


def _view(fields: dict[str, Any]) -> View:
    shape = fields["shape"]
    return View(**fields | {"shape": None if shape is None else tuple(shape)})


def write_answer(stream: IO[bytes], written: bytes, problem: str) -> None:
    """Give a plan, or say why there is none."""
    _write_line(stream, {"bytes": len(written), "problem": problem})
    stream.write(written)
    stream.flush()


def read_answer(stream: IO[bytes]) -> tuple[bytes, str]:
    """Return a plan, empty if there is none, and why there is none.

    Raises:
        EOFError: Nobody answers any more.
        ValueError: This is no answer.
    """
    line = stream.readline()
    if not line:
        raise EOFError
    said = json.loads(line)
    written = stream.read(said["bytes"])
    if len(written) != said["bytes"]:
        raise EOFError
    return written, said["problem"]


def _write_line(stream: IO[bytes], said: dict[str, Any]) -> None:
    stream.write(json.dumps(said).encode() + b"\n")
    stream.flush()
