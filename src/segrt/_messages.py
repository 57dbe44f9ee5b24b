"""What goes through pipes between processes of ours: JSON, and bytes as they lie.

A message is a line of JSON, which says how long each piece behind it is, and these pieces.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any


@dataclass(frozen=True, slots=True)
class Message:
    """A message.

    Attributes:
        fields: JSON values by name.
        pieces: Bytes that come with them.
    """

    fields: Mapping[str, Any]
    pieces: Sequence[bytes] = ()


def write(stream: IO[bytes], message: Message) -> None:
    """Send a message."""
    sizes = [len(piece) for piece in message.pieces]
    stream.write(json.dumps({"fields": message.fields, "sizes": sizes}).encode() + b"\n")
    for piece in message.pieces:
        stream.write(piece)
    stream.flush()


def read(stream: IO[bytes]) -> Message | None:
    """Wait for a message; None if there will be no more."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    head = json.loads(line)
    pieces = [stream.read(size) for size in head["sizes"]]
    if any(len(piece) != size for piece, size in zip(pieces, head["sizes"], strict=True)):
        return None
    return Message(head["fields"], pieces)
