"""What every kernel for a convolution with stride 1 is launched for."""

from __future__ import annotations

from dataclasses import dataclass

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
