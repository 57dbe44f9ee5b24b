"""Several sessions of the CUDA engine beside each other on one GPU."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from helpers.cuda_emulator import EmulatedGpu
from helpers.cudnn_emulator import EmulatedLibrary
from helpers.emulated_engine import run
from helpers.tensorrt_graphs import unet
from segrt.cuda.engine import Engine
from segrt.cuda.need import Need
from segrt.errors import DeviceMemoryError, EngineError
from segrt.targets._base import REGISTRY
from segrt.types import BuildOptions, Precision

pytest.importorskip("cuda.core", reason="cuda-core is not installed")


def _open(side: int = 16, batch: int | None = 1):
    target = REGISTRY.find("cuda")
    assert target is not None
    return target.open_model(unet((8, 16), side=side, batch=batch), BuildOptions())


def _image(batch: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"image": rng.random((batch, 16, 16, 1), dtype=np.float32)}


@pytest.mark.gpu
def test_threads_with_sessions_of_their_own():
    feeds = [_image(seed=seed) for seed in range(4)]
    with _open() as session:
        wanted = [session.run(feed)["mask"] for feed in feeds]

    def work(index: int) -> list[np.ndarray]:
        with _open() as session:
            return [session.run(feeds[index])["mask"] for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        for index, found in enumerate(pool.map(work, range(4))):
            for array in found:
                np.testing.assert_allclose(array, wanted[index], rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
def test_sizes_beyond_memory_leave_other_sessions_whole():
    with _open(batch=None) as whole, _open(batch=None) as greedy:
        before = whole.run(_image())["mask"]
        with pytest.raises(EngineError, match="memory does not hold") as error:
            greedy.engine([(1 << 24, 16, 16, 1)])
        assert "MiB" in str(error.value.wanted)
        np.testing.assert_array_equal(whole.run(_image())["mask"], before)
        np.testing.assert_allclose(greedy.run(_image())["mask"], before, rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
def test_changing_sizes_does_not_leak():
    driver = pytest.importorskip("cuda.bindings.driver")
    with _open(batch=None) as session:

        def cycle() -> int:
            for batch in range(1, 7):
                session.run(_image(batch))
            return int(driver.cuMemGetInfo()[1])

        cycle()
        free = cycle()
        for _ in range(3):
            last = cycle()
        # The driver's own pools grow in steps of 2 MiB.
        assert free - last <= 4 << 20


def test_too_little_memory_is_an_error_that_names_the_purpose(monkeypatch):
    model = unet((8, 16), side=16, batch=None)
    feeds = _image(batch=4)
    with pytest.raises(DeviceMemoryError, match="memory does not hold the") as caught:
        run(monkeypatch, model, feeds, memory=1 << 15)
    assert "0.0 MiB free of 0.0 MiB" in str(caught.value.found)
    for purpose in ("at least", "weights", "activations", "inputs and outputs"):
        assert purpose in str(caught.value.wanted)


def test_what_lacks_is_the_sum_of_all_purposes():
    need = Need(free=3 << 20, whole=16 << 20, parts={"weights": 1 << 20, "activations": 5 << 19})
    error = need.lacking(DeviceMemoryError("too little", found="refused", hint="close something"))
    assert error.found == "3.0 MiB free of 16.0 MiB; refused"
    assert error.wanted == "at least 3.5 MiB: weights 1.0 MiB, activations 2.5 MiB"
    assert error.hint == "close something"


def test_sizes_that_find_no_memory_leave_others_of_the_same_gpu_whole(monkeypatch):
    monkeypatch.setenv("SEGRT_CACHE", f"{os.devnull}/none")
    gpu = EmulatedGpu(monkeypatch, size=1 << 23)
    library = EmulatedLibrary(gpu)
    whole = Engine(unet((8, 16), side=16, batch=1), Precision.FP32, gpu, library)  # type: ignore[arg-type]
    image, before = [_image()["image"]], set(gpu.live)
    gpu.tuning = False
    (wanted,) = whole.run(image)
    gpu.tuning = True
    with pytest.raises(DeviceMemoryError, match="memory does not hold the"):
        Engine(unet((8, 16), side=16, batch=200), Precision.FP32, gpu, library)  # type: ignore[arg-type]
    # What the failed one had taken is free again, and nothing else is.
    assert set(gpu.live) == before
    gpu.tuning = False
    np.testing.assert_array_equal(whole.run(image)[0], wanted)
    assert wanted.std() > 0


@pytest.mark.parametrize(
    ("size", "trials"),
    [(1 << 24, False), (1 << 20, False), (1 << 16, False), (1 << 25, True), (1 << 23, True)],
)
def test_an_engine_gives_all_memory_back(monkeypatch, size: int, trials: bool):
    """Closed, or failed for want of memory at any point of being made, or of checking choices."""
    monkeypatch.setenv("SEGRT_CACHE", f"{os.devnull}/none")
    gpu = EmulatedGpu(monkeypatch, size=size, trials=trials)
    try:
        Engine(unet((8, 16), side=16), Precision.FP16, gpu, EmulatedLibrary(gpu)).close()  # type: ignore[arg-type]
        assert size >= 1 << 24
    except DeviceMemoryError:
        assert size < 1 << 24
    assert not gpu.live
