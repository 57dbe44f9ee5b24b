"""Kernels of Hopper's: their CUDA source with its copies and barriers, on the CPU against NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.cpu_hopper import run_hopper
from helpers.cpu_kernels import COMPILER
from helpers.kernel_memory import beside, numbers, poisoned, random_memory
from segrt.cuda.kernels._base import REGISTRY, Launch

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no g++ of GCC 12 or newer")
# Those that take seconds.
CASES = [
    *(("wide_convolution", index) for index in (3, 6)),
    *(("phase_wide", index) for index in (2, 3, 4, 6, 7)),
    *(("volume_convolution", index) for index in (0, 2, 3, 4, 5, 6, 8)),
]
BOUND = {"fp16": 5e-4, "bf16": 4e-3}


def _computed(launch: Launch, kernel, spec) -> tuple[float, bool]:
    """Return the relative difference, and whether nothing beside the slice was touched."""
    source, target = spec.source, spec.target
    memory, result = random_memory(source, 0), poisoned(target)
    parameters = list(kernel.parameters(spec, 7))
    begins = memory.reshape(-1)[source.offset :], result.reshape(-1)[target.offset :]
    run_hopper(launch, source, [begins[0], *parameters, begins[1]], 2)
    wanted = kernel.reference(spec, [numbers(memory, source)], parameters)
    error = np.linalg.norm(numbers(result, target) - wanted) / np.linalg.norm(wanted)
    return error, bool(np.all(beside(result, target) == 0xFF))


@pytest.mark.parametrize(("name", "case"), CASES)
def test_computes_its_reference(name, case):
    kernel = REGISTRY.find(name)
    spec = kernel.cases[case]
    error, alone = _computed(kernel.launch(spec), kernel, spec)
    assert error <= BOUND[spec.target.dtype]
    assert alone


POOLED = "wide_convolution", 7


def test_factors_and_shifts_come_before_the_maximum():
    kernel = REGISTRY.find(POOLED[0])
    spec = kernel.cases[POOLED[1]]
    assert spec.affine
    assert spec.pooled is not None
    memory, results = random_memory(spec.source, 0), [poisoned(spec.pooled), poisoned(spec.target)]
    parameters = list(kernel.parameters(spec, 7))
    # Some of them turn the order of what is compared.
    assert (parameters[1][1] < 0).any()
    small, large = (
        result.reshape(-1)[view.offset :]
        for result, view in zip(results, (spec.pooled, spec.target), strict=True)
    )
    arrays = [memory.reshape(-1)[spec.source.offset :], small, *parameters, large]
    run_hopper(kernel.launch(spec), spec.source, arrays, 2, images=2)
    wanted = kernel.reference(spec, [numbers(memory, spec.source)], parameters)
    error = np.linalg.norm(numbers(results[1], spec.target) - wanted) / np.linalg.norm(wanted)
    assert error <= BOUND[spec.target.dtype]
    n, h, w, c = wanted.shape
    split = numbers(results[1], spec.target).reshape(n, h // 2, 2, w // 2, 2, c)
    np.testing.assert_array_equal(numbers(results[0], spec.pooled), split.max(axis=(2, 4)))


def _spoilt(old: str, new: str) -> tuple[float, bool]:
    kernel = REGISTRY.find("volume_convolution")
    spec = kernel.cases[5]
    launch = kernel.launch(spec)
    assert old in launch.source
    return _computed(replace(launch, source=launch.source.replace(old, new)), kernel, spec)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # Products still read what is given back.
        ("arrive(ring.empty + 8 * ring.last)", "arrive(ring.empty + 8 * ring.slot)"),
        ("wait(ring.full + 8 * ring.slot, ring.parity);", ""),
    ],
)
def test_weights_that_come_too_early_or_late_are_seen(old: str, new: str):
    try:
        error, _ = _spoilt(old, new)
    except AssertionError:
        return
    assert not error <= 1e-2


def test_threads_that_all_wait_are_seen():
    with pytest.raises(AssertionError, match="all threads wait"):
        _spoilt("constexpr int BEHIND = 3;", "constexpr int BEHIND = 30;")
