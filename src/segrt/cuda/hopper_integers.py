"""`hopper_choices` for integers of eight bits.

Where one of these kernels fits, nothing else is tried: none was slower than the library's best plan
by more than 5 %, most take half of its time (docs/lab/LOG.md), and plans on integers are compiled
one by one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from segrt.cuda.hopper_choices import Asked
from segrt.cuda.kernels import phase_int8, resident_int8
from segrt.cuda.operations import Convolution, MergedUpsampling
from segrt.cuda.parameters import Lazy, numbers_for
from segrt.cuda.plan import phase_int8_spec, resident_int8_spec
from segrt.cuda.views import View


def resident(operation: Convolution, source: View, target: View, weights: Lazy) -> Iterator[Asked]:
    """Yield the kernel for a convolution, ``weights`` making its integers."""
    spec = resident_int8_spec(operation, source, target)
    if spec is not None:
        found, numbers = spec, numbers_for(operation, source, target)
        yield (
            "resident_int8",
            found,
            lambda: resident_int8.arrange(weights().transpose(2, 3, 1, 0), found),
            resident_int8.pad_numbers(numbers, found),
        )


def phases(
    operation: MergedUpsampling, source: View, target: View, weights: Lazy
) -> Iterator[Asked]:
    """Yield the kernel for merged upsampling."""
    spec = phase_int8_spec(operation, source, target)
    if spec is not None:
        uses = spec.uses
        factors, bias = numbers_for(operation.convolution, source, target)
        numbers = np.concatenate([factors, bias[: target.c]]).reshape(-1, target.c)
        padded = phase_int8.pad_numbers(numbers)
        yield "phase_int8", spec, lambda: phase_int8.arrange(weights(), uses), padded
