"""What difference is allowed, said once for every precision and kind of layer.

Two kinds of layer are told apart by the operators they consist of:

``movement``    only moves, pads, picks or clamps numbers (nearest upsampling, zero padding, max
                pooling, concatenation, ReLU): in fp32 its result is bit-equal.
``arithmetic``  everything else.

A layer is judged twice: by its *own* error (fed with the reference's values) and by the error
of the *whole* run, in which the errors of all layers before it have added up.

Where the numbers come from: fp32 sums of some thousand products round to about 1e-6 relative,
and 1e-5 is what this project promises. bf16 has 8 significant bits, so rounding input, weights
and output costs up to 2 ** -8 each (3.9e-3); errors of that size add up over the twenty layers of
a U-Net like a random walk. fp16 and tf32 have 11 bits (4.9e-4). In int8 a step is 1/127 of the
largest number in a layer, whose root mean square is often a tenth of it: up to 3 % for a layer by
itself. A trained U-Net as a whole showed 0.5 to 1.7 %, and 0.992 to 0.998 of the pixels the same
class (docs/lab/LOG.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from segrt.errors import UnavailableError
from segrt.types import Precision
from segrt.verification.metrics import Metrics

MOVEMENT = "movement"
ARITHMETIC = "arithmetic"

# fmt: off
_MOVING_OPS = frozenset({
    "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Dropout", "Expand",
    "Flatten", "Gather", "GlobalMaxPool", "Identity", "Max", "MaxPool", "Min", "Neg", "Pad", "Relu",
    "Reshape", "Shape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose",
    "Unsqueeze", "Where",
})
# fmt: on


@dataclass(frozen=True, slots=True)
class Limit:
    """The largest figures that still hold.

    Attributes:
        relative_l2: Of `Metrics.relative_l2`.
        peak: Of `Metrics.peak`; catches a single wrong pixel in a large image.
    """

    relative_l2: float
    peak: float


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What one precision allows.

    Attributes:
        own: Limit of a layer's own error, by kind of layer.
        whole: Limit of the error a layer shows in the whole run.
        mask_agreement: Smallest allowed share of pixels with the same class, 0 to 1.
        undecided: How near to the decision, as a share of the largest value, both sides must be for
            a differing pixel not to count. fp32's is what reordered sums differ by; the others
            allow some pixels to differ anyway.
    """

    own: dict[str, Limit]
    whole: Limit
    mask_agreement: float
    undecided: float = 0.0


_EXACT = Limit(relative_l2=0.0, peak=0.0)

TOLERANCES: dict[Precision, Tolerance] = {
    Precision.FP32: Tolerance(
        own={MOVEMENT: _EXACT, ARITHMETIC: Limit(1e-5, 1e-4)},
        whole=Limit(1e-5, 1e-4),
        mask_agreement=1.0,
        undecided=2e-6,
    ),
    Precision.TF32: Tolerance(
        own={MOVEMENT: Limit(5e-4, 5e-4), ARITHMETIC: Limit(2e-3, 1e-2)},
        whole=Limit(1e-2, 5e-2),
        mask_agreement=0.999,
    ),
    Precision.FP16: Tolerance(
        own={MOVEMENT: Limit(5e-4, 5e-4), ARITHMETIC: Limit(2e-3, 1e-2)},
        whole=Limit(1e-2, 5e-2),
        mask_agreement=0.999,
    ),
    Precision.BF16: Tolerance(
        own={MOVEMENT: Limit(4e-3, 4e-3), ARITHMETIC: Limit(1.5e-2, 8e-2)},
        whole=Limit(5e-2, 3e-1),
        mask_agreement=0.999,
    ),
    Precision.INT8: Tolerance(
        own={MOVEMENT: Limit(3e-2, 3e-2), ARITHMETIC: Limit(5e-2, 2e-1)},
        whole=Limit(1e-1, 5e-1),
        mask_agreement=0.99,
    ),
}


def tolerance_of(precision: Precision) -> Tolerance:
    """Return what ``precision`` allows.

    Raises:
        UnavailableError: Nothing is laid down for this precision; never guessed.
    """
    if precision not in TOLERANCES:
        raise UnavailableError(
            f"no tolerance is laid down for precision {precision.value}",
            wanted=", ".join(sorted(precision.value for precision in TOLERANCES)),
            hint="pass a tolerance of your own",
        )
    return TOLERANCES[precision]


def kind_of_layer(operators: Iterable[tuple[str, str]]) -> str:
    """Return ``movement`` or ``arithmetic``.

    Args:
        operators: ``(op_type, mode)`` of every node of the layer; the mode matters for Resize.
    """
    for op_type, mode in operators:
        if op_type not in _MOVING_OPS and (op_type, mode) != ("Resize", "nearest"):
            return ARITHMETIC
    return MOVEMENT


def complaint(metrics: Metrics, limit: Limit) -> str:
    """Say what does not hold, "" if all does.

    Both limits grow with `Metrics.amplification`: a value recovered from a folded one carries the
    rounding of the folded one, magnified by a factor that is measured, not assumed.
    """
    if metrics.problem:
        return metrics.problem
    # `not <=` instead of `>`: a NaN that slipped through must not hold.
    for name, value, bound in (
        ("relative L2", metrics.relative_l2, limit.relative_l2),
        ("peak", metrics.peak, limit.peak),
    ):
        allowed = bound * metrics.amplification
        if not value <= allowed:
            return f"{name} error {value:.3g} is over {allowed:.3g}"
    return ""
