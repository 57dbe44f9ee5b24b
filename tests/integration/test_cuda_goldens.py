"""Recordings of real Keras against the CUDA engine in fp32."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.cuda_goldens import one_of_each
from helpers.goldens import Golden
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets._base import REGISTRY
from segrt.targets.cuda import LOWERINGS
from segrt.types import BuildOptions

CONTEXT = PassContext(LOWERINGS[-1].upsampling_forms, extra_passes=LOWERINGS[-1].extra_passes)
BOUND = 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize("golden", one_of_each(), ids=str)
def test_agrees_with_keras(golden: Golden):
    target = REGISTRY.find("cuda")
    assert target is not None
    feeds, wanted = golden.arrays("input"), golden.arrays("output")
    lowered, _ = lower(golden.read(), CONTEXT)
    with target.open_model(lowered, BuildOptions()) as session:
        found = session.run(feeds)
    for name, array in wanted.items():
        assert np.linalg.norm(found[name] - array) <= BOUND * np.linalg.norm(array), name
