"""Whether what was timed computes the network: the first and last image against fp32."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from segrt.errors import ShapeError
from segrt.graph.fix_shapes import fix_shapes
from segrt.targets._base import Array
from segrt.targets._build import relative_l2
from segrt.types import Precision
from segrt.verification._ort import open_plain

# Relative L2 differences that rounding explains; more, and it is another network. Not a judgement
# of accuracy: `segrt verify` makes that.
_BOUNDS = {
    Precision.FP32: 1e-3,
    Precision.TF32: 1e-2,
    Precision.FP16: 3e-2,
    Precision.BF16: 1e-1,
    Precision.INT8: 2e-1,
}


class Answer:
    """What the network before any pass says, in fp32, of the first and the last image of a batch.

    Args:
        model: All its sizes are known; not changed.
        feeds: Its inputs.
        precision: What those who are compared compute in.

    Attributes:
        bound: The largest difference that rounding explains.

    Raises:
        EngineError: ONNX Runtime refuses the network.
    """

    def __init__(self, model: ir.Model, feeds: Mapping[str, Array], precision: Precision) -> None:
        self.bound = _BOUNDS[precision]
        self._names = [str(value.name) for value in model.graph.outputs]
        counts = {np.shape(array)[0] for array in feeds.values()}
        self._count = counts.pop() if len(counts) == 1 else 0
        few = {name: self._few(array) for name, array in feeds.items()}
        try:
            small = fix_shapes(model, {name: array.shape for name, array in few.items()})
        except ShapeError:
            # The batch size is written into the graph.
            self._count = 0
            small, few = model, dict(feeds)
        runner = open_plain(small)
        try:
            found = runner.run(few)
        finally:
            runner.close()
        self._wanted = [found[name] for name in self._names]

    def error(self, outputs: Sequence[Array]) -> float:
        """Return the largest relative L2 difference of an output; infinite for other shapes.

        Of masks, and of other whole numbers, it is the share of those that differ.
        """
        found = [
            _difference(self._few(np.asarray(whole)), wanted)
            for whole, wanted in zip(outputs, self._wanted, strict=True)
        ]
        # Python's max may lose a NaN.
        return float(np.max(found))

    def named(self, outputs: Mapping[str, Array]) -> list[Array]:
        """Return a session's outputs in the graph's order."""
        return [outputs[name] for name in self._names]

    def _few(self, array: Array) -> Array:
        if self._count < 3 or array.ndim == 0 or array.shape[0] != self._count:
            return array
        return array[[0, -1]]


def _difference(found: Array, wanted: Array) -> float:
    if found.shape != wanted.shape:
        return math.inf
    if wanted.dtype.kind in "biu":
        return float(np.mean(found != wanted))
    return relative_l2(found, wanted)
