from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from segrt.errors import EngineError
from segrt.types import TensorSpec


class FakeSession:
    """A session whose network is a NumPy function of an NHWC batch."""

    def __init__(self, function, shape, outputs=1, channel_axis=-1):
        self.function = function
        self._spec = TensorSpec("image", shape, "float32", channel_axis)
        self._outputs = outputs
        self._axis = channel_axis
        self.batches = []

    @property
    def inputs(self):
        return (self._spec,)

    @property
    def outputs(self):
        return tuple(
            TensorSpec(f"out{i}", (None,) * 4, "float32", self._axis) for i in range(self._outputs)
        )

    def run(self, feeds):
        (array,) = feeds.values()
        assert array.dtype == np.float32
        for wanted, found in zip(self._spec.shape, array.shape, strict=True):
            assert wanted in (None, found)
        self.batches.append(array.shape)
        nhwc = np.moveaxis(array, 1, -1) if self._axis == 1 else array
        result = self.function(nhwc)
        if result is None:
            raise EngineError("the engine failed")
        result = np.moveaxis(result, -1, 1) if self._axis == 1 else result
        return {f"out{i}": result for i in range(self._outputs)}

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


@pytest.fixture
def fake_session() -> Callable[..., FakeSession]:
    return FakeSession
