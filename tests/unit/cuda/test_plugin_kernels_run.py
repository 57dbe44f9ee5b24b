"""The kernels of TensorRT plugins on a GPU, launched as TensorRT launches them."""

import numpy as np
import pytest

from segrt.cuda.custom_source import entry_name, plugin_source
from segrt.cuda.views import decode, encode
from segrt.graph.custom.upsample_bilinear import upsample_bilinear
from segrt.graph.custom.upsample_nearest import upsample_nearest
from segrt.graph.custom_ops import custom_op
from segrt.targets.trt.plugin import kernel_code

# Relative L2: what rounding the result to the type explains, and float32 sums.
BOUND = {"fp32": 2e-6, "fp16": 5e-4, "bf16": 4e-3}


@custom_op("test_leak", cuda="float v = x[i]; out[i] = v < 0.0f ? slope * v : v;")
def leak(x, *, slope: float):
    return np.where(x < 0, slope * x, x)


CASES = {
    "nearest": (upsample_nearest, {"rows": 2, "columns": 2}),
    "nearest 3x1": (upsample_nearest, {"rows": 3, "columns": 1}),
    "bilinear": (upsample_bilinear, {"rows": 2, "columns": 2}),
    "bilinear 2x4": (upsample_bilinear, {"rows": 2, "columns": 4}),
    "leak": (leak, {"slope": 0.125}),
}


@pytest.fixture(scope="module")
def gpu():
    from segrt.cuda.driver import Gpu

    opened = Gpu()
    yield opened
    opened.close()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_its_reference(gpu, name, dtype):
    from cuda.core import LaunchConfig, ObjectCode, launch

    op, attributes = CASES[name]
    code = kernel_code(plugin_source(op, attributes, dtype, [4, 4]), op.name)
    load = ObjectCode.from_cubin if code[:4] == b"\x7fELF" else ObjectCode.from_ptx
    kernel = load(code).get_kernel(entry_name(op))
    # One kernel serves all sizes: they are arguments.
    for shape in ((1, 1, 1, 1), (2, 3, 5, 7), (1, 16, 64, 48)):
        image = encode(np.random.default_rng(5).normal(size=shape), dtype)
        wanted = op(decode(image, dtype).astype(np.float64), **attributes)
        poison = np.full(wanted.size * image.itemsize, 0xFF, "u1")
        source, target = (gpu.upload(array, "test") for array in (image, poison))
        sizes = [np.int32(size) for size in (*shape, *wanted.shape, wanted.size)]
        config = LaunchConfig(grid=-(-wanted.size // 256), block=256)
        launch(gpu.stream, config, kernel, int(source.handle), *sizes, int(target.handle))
        staging, memory = gpu.pinned(poison.size)
        target.copy_to(staging, stream=gpu.stream)
        gpu.stream.sync()
        found = decode(memory.copy().view(image.dtype).reshape(wanted.shape), dtype)
        error = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
        assert error <= BOUND[dtype], shape
        if op is upsample_nearest:
            np.testing.assert_array_equal(found, wanted.astype(np.float32))
        for buffer in (source, target):
            buffer.close(gpu.stream)
        staging.close()
