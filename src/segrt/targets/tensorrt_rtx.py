"""TensorRT for RTX: builds on any machine, runs on GeForce and RTX GPUs from Turing on."""

from __future__ import annotations

from segrt.targets._base import REGISTRY
from segrt.targets.trt._flavour import RTX
from segrt.targets.trt._target import TensorRtTarget

REGISTRY.register(RTX.name)(TensorRtTarget(RTX))
