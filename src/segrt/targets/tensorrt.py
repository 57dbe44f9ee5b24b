"""TensorRT 10 and 11: data-center GPUs, workstations and Jetson."""

from __future__ import annotations

from segrt.targets._base import REGISTRY
from segrt.targets.trt._flavour import FULL
from segrt.targets.trt._target import TensorRtTarget

REGISTRY.register(FULL.name)(TensorRtTarget(FULL))
