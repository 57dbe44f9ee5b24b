"""What kernels count in 32 bits: a launch beyond it is refused, for it would be silently wrong.

Threads are numbered in 32 bits by every kernel, elements by those that know strides. Kernels on
images count elements in 64 bits and take vectors of channels, so the first limit alone is theirs.
"""

from __future__ import annotations

from segrt.cuda.views import View
from segrt.errors import EngineError

# Less than an int holds, for a loop's last step goes beyond its end.
LARGEST = 2**31 - 4096
# Places that a network computes are float32, which holds every whole number up to here.
EXACT = 2**24


def require(count: int, *, of: str, most: int = LARGEST, who: str = "a value") -> None:
    """Let a number pass that is not too large.

    Args:
        count: The number.
        of: What is counted.
        most: The largest that is right.
        who: What has so many.

    Raises:
        EngineError: It is too large.
    """
    if count > most:
        raise EngineError(
            f"{who} is too large for one launch",
            found=f"{count} {of}",
            wanted=f"at most {most}",
            hint="use a smaller batch or image",
        )


def require_elements(*views: View) -> None:
    """Let values pass whose elements 31 bits can count, with what lies between them.

    Raises:
        EngineError: One has more.
    """
    require(max(view.pixels * view.pitch for view in views), of="elements")


def require_places(count: int) -> None:
    """Let so many places pass if float32 can tell them all apart.

    Raises:
        EngineError: It cannot.
    """
    require(count, of="places, which are float32", most=EXACT)
