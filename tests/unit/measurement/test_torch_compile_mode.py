"""Which mode of `torch.compile` is timed: one that ends, unless another one was asked for."""

import pytest

from helpers.fake_peers import task
from segrt.measurement.peers.torch_compile import TorchCompile, mode_of


@pytest.mark.parametrize(
    ("on_gpu", "asked", "wanted"),
    [(True, "", "reduce-overhead"), (False, "", "default"), (True, "max-autotune", "max-autotune")],
)
def test_the_mode(on_gpu, asked, wanted):
    assert mode_of(task(mode=asked, on_gpu=on_gpu)) == wanted
    assert wanted in TorchCompile.modes
