"""How much device memory a network asks for, said in full where it is not there."""

from __future__ import annotations

from dataclasses import dataclass, field

from segrt.cuda.operations import Program
from segrt.cuda.views import ITEM_BYTES
from segrt.errors import DeviceMemoryError


@dataclass(slots=True)
class Need:
    """What a network asks for.

    Attributes:
        free: Bytes that were free before it took any.
        whole: Bytes that the device has.
        parts: Bytes by purpose, as far as they are known.
    """

    free: int
    whole: int
    parts: dict[str, int] = field(default_factory=dict)

    def lacking(self, error: DeviceMemoryError) -> DeviceMemoryError:
        """Return the error of one allocation with what all of them come to."""
        listed = ", ".join(f"{purpose} {_mib(size)}" for purpose, size in self.parts.items())
        return DeviceMemoryError(
            error.message,
            found=f"{_mib(self.free)} free of {_mib(self.whole)}; {error.found}",
            wanted=f"at least {_mib(sum(self.parts.values()))}: {listed}",
            hint=error.hint,
        )


def weights_bytes(program: Program, dtype: str) -> int:
    """Return about how many bytes the parameters of a program take in element type ``dtype``."""
    numbers = 0
    for operation in program.operations:
        own = [operation, getattr(operation, "convolution", None)]
        numbers += sum(
            kernel.size for part in own if (kernel := getattr(part, "kernel", None)) is not None
        )
    return numbers * ITEM_BYTES[dtype]


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
