"""Which TensorRT each JetPack brings: data.

``sure`` is False where only memory or a single repository says so; NVIDIA's pages or several
independent repositories stand behind the others.
"""

from __future__ import annotations

from dataclasses import dataclass

from segrt.checks._features import Version


@dataclass(frozen=True, slots=True)
class JetPack:
    """JetPack releases ``first`` to ``last`` (both included) and their TensorRT."""

    first: Version
    last: Version
    tensorrt: Version
    linux: str
    sure: bool = True


JETPACKS = (
    JetPack((3, 2, 1), (3, 3), (4, 0, 2), "L4T 28.2-28.3", sure=False),
    JetPack((4, 2), (4, 2), (5, 0, 6), "L4T 32.1"),
    JetPack((4, 2, 2), (4, 2, 2), (5, 1, 6), "L4T 32.2"),
    JetPack((4, 3), (4, 3), (6, 0, 1), "L4T 32.3"),
    JetPack((4, 4), (4, 5, 1), (7, 1, 3), "L4T 32.4-32.5"),
    JetPack((4, 6), (4, 6), (8, 0, 1), "L4T 32.6"),
    JetPack((4, 6, 1), (4, 6, 2), (8, 2, 1), "L4T 32.7"),
    JetPack((5, 0, 2), (5, 0, 2), (8, 4, 1), "L4T 35.1"),
    JetPack((5, 1), (5, 1, 5), (8, 5, 2), "L4T 35.2-35.6"),
    JetPack((6, 0), (6, 0), (8, 6, 2), "L4T 36.3", sure=False),
    JetPack((6, 1), (6, 2, 2), (10, 3, 0), "L4T 36.4-36.5"),
    JetPack((7, 0), (7, 1), (10, 13), "L4T 38", sure=False),
    JetPack((7, 2, 1), (7, 2, 1), (10, 16, 2), "L4T 39.2", sure=False),
)


def find_jetpack(version: Version) -> JetPack | None:
    """Return the entry of a JetPack release, None where the table has none.

    ``4.2`` is 4.2.0: JetPack's patch releases may bring another TensorRT.
    """
    for entry in JETPACKS:
        if _padded(entry.first) <= _padded(version) <= _padded(entry.last):
            return entry
    return None


def _padded(version: Version) -> Version:
    return (*version, 0, 0)[:3]
