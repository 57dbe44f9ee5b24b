"""SegRT: verified deployment of Keras segmentation networks.

    import segrt

    package = segrt.build("unet.h5", target="cpu", output="unet.segrt")
    with segrt.open_session(package) as session:
        mask = session.run({"image": images})
    report = segrt.verify(package, against="keras_recording.npz")

The public names are loaded when they are first used: importing this package imports no engine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from segrt import _late_sympy

if TYPE_CHECKING:
    from segrt.api import (
        build,
        check,
        convert,
        list_weights,
        load,
        lower,
        open_session,
        plan_upsampling,
        predict,
        record,
        verify,
    )
    from segrt.cuda.devices import on_device
    from segrt.errors import SegrtError
    from segrt.graph.custom_ops import CustomOp, custom_op
    from segrt.importers._own_code import keras_layer
    from segrt.importers.layers._base import Call, WeightSpec
    from segrt.importers.layers._tensor import Layout, Tensor
    from segrt.measurement.bench import bench
    from segrt.measurement.report import BenchReport
    from segrt.prediction.options import PredictOptions
    from segrt.prediction.report import PredictReport
    from segrt.targets._base import Session
    from segrt.targets._package import Package
    from segrt.types import Precision, Preprocess, ShapeProfile, TensorSpec, Verdict
    from segrt.verification.report import Report
    from segrt.verification.verifier import VerifyOptions

__version__ = "0.1.0"

_late_sympy.put_off()

_HOMES = {
    "segrt.api": (
        "build", "check", "convert", "list_weights", "load", "lower", "open_session",
        "plan_upsampling", "predict", "record", "verify",
    ),
    "segrt.cuda.devices": ("on_device",),
    "segrt.errors": ("SegrtError",),
    "segrt.graph.custom_ops": ("CustomOp", "custom_op"),
    "segrt.importers._own_code": ("keras_layer",),
    "segrt.importers.layers._base": ("Call", "WeightSpec"),
    "segrt.importers.layers._tensor": ("Layout", "Tensor"),
    "segrt.measurement.bench": ("bench",),
    "segrt.measurement.report": ("BenchReport",),
    "segrt.prediction.options": ("PredictOptions",),
    "segrt.prediction.report": ("PredictReport",),
    "segrt.targets._base": ("Session",),
    "segrt.targets._package": ("Package",),
    "segrt.types": ("Precision", "Preprocess", "ShapeProfile", "TensorSpec", "Verdict"),
    "segrt.verification.report": ("Report",),
    "segrt.verification.verifier": ("VerifyOptions",),
}  # fmt: skip
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BenchReport",
    "Call",
    "CustomOp",
    "Layout",
    "Package",
    "Precision",
    "PredictOptions",
    "PredictReport",
    "Preprocess",
    "Report",
    "SegrtError",
    "Session",
    "ShapeProfile",
    "Tensor",
    "TensorSpec",
    "Verdict",
    "VerifyOptions",
    "WeightSpec",
    "__version__",
    "bench",
    "build",
    "check",
    "convert",
    "custom_op",
    "keras_layer",
    "list_weights",
    "load",
    "lower",
    "on_device",
    "open_session",
    "plan_upsampling",
    "predict",
    "record",
    "verify",
]


# Type checkers know the names from above: to them any other name is an error.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a public name on first use (PEP 562)."""
        module = _HOME_OF.get(name)
        if module is None:
            raise AttributeError(f"module 'segrt' has no attribute {name!r}")
        value = getattr(importlib.import_module(module), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
