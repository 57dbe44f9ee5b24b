"""What kernels with a window that slides over an image are launched for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from segrt.cuda.views import View


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """A convolution with stride 1; each kernel says what images it takes.

    Attributes:
        source: The image read.
        target: The image written.
        window: Height and width of the kernel.
        before: Padding above and to the left.
        relu: Whether a ReLU follows.
    """

    source: View
    target: View
    window: tuple[int, int]
    before: tuple[int, int]
    relu: bool

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)


class SlidingSpec(Protocol):
    """A window with strides, dilations and padding."""

    @property
    def window(self) -> tuple[int, int]:
        """Height and width."""
        ...

    @property
    def step(self) -> tuple[int, int]:
        """Strides (y, x)."""
        ...

    @property
    def apart(self) -> tuple[int, int]:
        """Distance between a window's pixels (y, x)."""
        ...

    @property
    def before(self) -> tuple[int, int]:
        """Padding above and to the left."""
        ...


def sliding(spec: SlidingSpec) -> dict[str, int]:
    """Return a window's settings, as the sources call them."""
    return {
        "ky": spec.window[0], "kx": spec.window[1],
        "step_y": spec.step[0], "step_x": spec.step[1],
        "apart_y": spec.apart[0], "apart_x": spec.apart[1],
        "top": spec.before[0], "left": spec.before[1],
    }  # fmt: skip
