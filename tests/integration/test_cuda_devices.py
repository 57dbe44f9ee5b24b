"""Sessions of the CUDA engine on several GPUs, and the caller's own GPU beside them.

On emulated GPUs that mind being used while another one is current; and on two real ones.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import segrt
from helpers.emulated_target import Devices, emulate
from helpers.tensorrt_graphs import unet
from segrt.cuda.devices import keeping_current, on_device
from segrt.errors import UnavailableError, UsageError
from segrt.targets.cuda import CudaSession
from segrt.types import Precision

FEED = {"image": np.random.default_rng(0).random((1, 16, 16, 1), dtype=np.float32)}


def _open(device: int | None = None, batch: int | None = 1) -> CudaSession:
    return CudaSession(unet((8, 16), side=16, batch=batch), Precision.FP32, device)


def _mask(session: CudaSession) -> np.ndarray:
    return session.run(FEED)["mask"]


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Devices:
    return Devices(monkeypatch)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, devices: Devices) -> list:
    return emulate(monkeypatch, tmp_path / "cache", devices)


def test_sessions_use_their_own_device_whatever_is_current(opened, devices):
    with _open(0) as first, _open(1) as second:
        assert [gpu.index for gpu in opened] == [0, 1]
        for current in (1, 0, None):
            devices.current = current
            np.testing.assert_array_equal(_mask(first), _mask(second))


def test_a_session_is_run_and_closed_by_other_threads(opened, devices):
    devices.current = 0
    session = _open(1, batch=None)
    wanted = _mask(session)
    with ThreadPoolExecutor(1) as pool:
        # A thread without a current device, then with another one.
        np.testing.assert_array_equal(pool.submit(_mask, session).result(), wanted)
        pool.submit(setattr, devices, "current", 0).result()
        np.testing.assert_array_equal(pool.submit(_mask, session).result(), wanted)
        # New sizes are planned there too.
        twice = {"image": np.concatenate([FEED["image"]] * 2)}
        np.testing.assert_array_equal(
            pool.submit(session.run, twice).result()["mask"][0], wanted[0]
        )
        assert session.profile([(1, 16, 16, 1)])
        pool.submit(session.close).result()
        assert pool.submit(lambda: devices.current).result() == 0
    assert devices.current == 0
    assert opened[0].closed
    assert not opened[0].live


def test_the_callers_device_stays_current(opened, devices):
    devices.current = 0
    with _open(1) as session:
        assert devices.current == 0
        _mask(session)
        assert devices.current == 0
    assert devices.current == 0


def test_a_refusal_keeps_the_callers_device_too(opened, devices):
    devices.current = 0

    def fail() -> None:
        with keeping_current():
            devices.current = 1
            raise ValueError("within")

    with pytest.raises(ValueError, match="within"):
        fail()
    assert devices.current == 0


def test_devices_are_chosen_for_what_is_opened_within(opened):
    with on_device(2) as chosen:
        _open().close()
        with on_device(3):
            _open().close()
        _open().close()
    _open().close()
    assert chosen.used
    assert [gpu.index for gpu in opened] == [2, 3, 2, 0]


def test_packages_open_on_a_device(opened, tmp_path):
    package = segrt.build(unet((8, 16), side=16), target="cuda", output=tmp_path / "net.segrt")
    with segrt.open_session(package, device=1) as session:
        assert set(session.run(FEED)) == {"mask"}
    assert opened[-1].index == 1


def test_a_device_for_a_package_without_one_is_refused(tmp_path):
    package = segrt.build(
        unet((8, 16), side=16), target="onnxruntime", output=tmp_path / "net.segrt"
    )
    with pytest.raises(UsageError, match="runs on no GPU"):
        segrt.open_session(package, device=1)


def test_negative_devices_are_refused():
    with pytest.raises(UsageError, match="no such device"), segrt.on_device(-1):
        pytest.fail("entered")


@pytest.mark.gpu
@pytest.mark.gpus(2)
def test_two_gpus_say_the_same_beside_each_other():
    with _open(0) as session:
        wanted = _mask(session)

    def work(device: int) -> list[np.ndarray]:
        with _open(device) as session:
            return [_mask(session) for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(work, [0, 1, 0, 1]):
            for mask in found:
                np.testing.assert_allclose(mask, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.gpus(2)
def test_a_second_gpu_is_used_and_the_first_left_current():
    from cuda.bindings import driver
    from cuda.core import Device

    Device(0).set_current()
    before, free = driver.cuCtxGetCurrent()[1], driver.cuMemGetInfo()[1]
    with _open(0, batch=None) as first, _open(1, batch=None) as second:
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(_mask, second).result()
        np.testing.assert_allclose(other, _mask(first), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(_mask(second), other, rtol=1e-5, atol=1e-6)
        assert int(driver.cuCtxGetCurrent()[1]) == int(before)
        with segrt.on_device(1), _open(batch=None) as third:
            third.run({"image": np.zeros((64, 16, 16, 1), np.float32)})
            assert int(driver.cuCtxGetCurrent()[1]) == int(before)
    # What the second one held was not taken from the first.
    assert int(free) - int(driver.cuMemGetInfo()[1]) <= 64 << 20


@pytest.mark.gpu
def test_a_gpu_that_is_not_there_is_named():
    with pytest.raises(UnavailableError, match="CUDA device 99") as caught:
        _open(99)
    assert str(caught.value.wanted).startswith("0 to ")
