"""Kernels in ONNX' order, against NumPy's transpose; sizes of one too."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from segrt.graph import layouts


@pytest.mark.parametrize("taps", [(1,), (3,), (1, 1), (3, 3), (2, 1), (2, 3, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_channels_come_before_taps(taps, dtype):
    last = tuple(range(len(taps)))
    for channels in itertools.product((1, 2, 5), (1, 3, 4)):
        kernel = (
            np.arange(np.prod(taps) * np.prod(channels)).reshape(*taps, *channels).astype(dtype)
        )
        wanted = kernel.transpose(-1, -2, *last)
        for turn in (layouts.convolution_kernel, layouts.transposed_kernel):
            np.testing.assert_array_equal(turn(kernel), wanted)
            np.testing.assert_array_equal(turn(kernel[..., ::-1]), wanted[::-1])
