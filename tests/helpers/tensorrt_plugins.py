"""NVIDIA's Python layer of quick-deploy plugins, without TensorRT itself.

Two ways: over a stand-in for the module `tensorrt`, which has just what that layer touches, so that
its whole build-time life cycle runs with no native library at all; and over the lean runtime
(`tensorrt_lean_cu13_bindings` and `_libs` on PyPI), which has the real plugin registry. Nothing of
NVIDIA's is kept here: the layer is the one of the installed wheel.
"""

import contextlib
import enum
import importlib.util
import sys
import types

import numpy as np
import pytest

BINDINGS, LIBRARIES = "tensorrt_lean_bindings", "tensorrt_lean_libs"
WHY = "pip install tensorrt_lean_cu13_bindings tensorrt_lean_cu13_libs"


class DimensionOperation(enum.Enum):
    SUM, PROD, MAX, MIN, SUB, EQUAL, LESS, FLOOR_DIV, CEIL_DIV = range(9)


RESULT = {
    DimensionOperation.SUM: lambda a, b: a + b,
    DimensionOperation.PROD: lambda a, b: a * b,
    DimensionOperation.SUB: lambda a, b: a - b,
    DimensionOperation.MAX: max,
    DimensionOperation.MIN: min,
    DimensionOperation.EQUAL: lambda a, b: int(a == b),
    DimensionOperation.LESS: lambda a, b: int(a < b),
    DimensionOperation.FLOOR_DIV: lambda a, b: a // b,
    DimensionOperation.CEIL_DIV: lambda a, b: -(-a // b),
}


class IDimensionExpr:
    """A size of a network with free sizes: no constant, though the tests know its value."""

    def __init__(self, value=None, *, constant=False):
        self.value, self._constant = value, constant

    def is_constant(self):
        return self._constant

    def get_constant_value(self):
        assert self._constant, "the value of a free size was asked for"
        return self.value

    def is_size_tensor(self):
        return False


class IExprBuilder:
    def constant(self, value):
        return IDimensionExpr(value, constant=True)

    def operation(self, kind, first, second):
        constant = first.is_constant() and second.is_constant()
        return IDimensionExpr(RESULT[kind](first.value, second.value), constant=constant)


class Dims(tuple):
    MAX_DIMS = 8
    __slots__ = ()


class DimsExprs(list):
    def __init__(self, sizes):
        super().__init__([None] * sizes if isinstance(sizes, int) else sizes)


class PluginTensorDesc:
    dims = type = format = scale = None


class DynamicPluginTensorDesc:
    def __init__(self):
        self.desc, self.min, self.max, self.opt = PluginTensorDesc(), (), (), ()


class PluginField:
    def __init__(self, name, data, type):  # noqa: A002 - its name there
        # The native class hands text back as an array of its bytes.
        data = np.frombuffer(data, np.int8) if isinstance(data, bytes) else data
        self.name, self.data, self.type = name, data, type


class Logger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self, *_):
        self.messages = []

    def log(self, severity, text):
        self.messages.append((severity, text))


class Registry:
    def __init__(self):
        self.creators = {}

    def register_creator(self, creator, namespace=""):
        self.creators[creator.name, "1", namespace] = creator
        return True

    def get_creator(self, name, version, namespace=""):
        return self.creators.get((name, version, namespace))

    @property
    def all_creators(self):
        return list(self.creators.values())


def stand_in(version="11.4.0.106", *, ahead_of_time=True):
    """Return a module that NVIDIA's layer takes for `tensorrt`."""
    module = types.ModuleType("tensorrt")
    module.__path__ = []
    module.__version__ = version
    for name in (
        "ITensor", "IPluginV3", "IPluginV3QuickCore", "IPluginV3QuickBuild", "ISymExpr",
        "IPluginV3QuickRuntime", "IPluginV3QuickAOTBuild", "IPluginCreatorV3Quick",
    ):  # fmt: skip
        setattr(module, name, type(name, (), {"__init__": lambda self, *_a, **_k: None}))
    types_ = enum.Enum("DataType", "FLOAT HALF INT8 INT32 BOOL UINT8 FP8 BF16 INT64 INT4 FP4")
    module.DataType = types_
    short = {
        "float32": "FLOAT", "float16": "HALF", "int8": "INT8", "int32": "INT32", "bool": "BOOL",
        "uint8": "UINT8", "fp8": "FP8", "bfloat16": "BF16", "int64": "INT64",
    }  # fmt: skip
    for name, long in short.items():
        setattr(module, name, types_[long])
    enumerations = {
        "TensorFormat": "LINEAR CHW2 HWC8 CHW4 CHW16 CHW32 DHWC8 CDHW32 HWC DLA_LINEAR DLA_HWC4 "
        "HWC16 DHWC",
        "PluginArgType": "INT",
        "PluginArgDataType": "INT8 INT16 INT32",
        "PluginFieldType": "FLOAT16 FLOAT32 FLOAT64 INT8 INT16 INT32 CHAR DIMS UNKNOWN BF16 INT64 "
        "FP8 INT4 FP4",
        "TensorRTPhase": "BUILD RUNTIME",
    }
    if ahead_of_time:
        enumerations["QuickPluginCreationRequest"] = (
            "UNKNOWN PREFER_JIT PREFER_AOT STRICT_JIT STRICT_AOT"
        )
    for name, members in enumerations.items():
        setattr(module, name, enum.Enum(name, members))
    for item in (
        DimensionOperation, IDimensionExpr, IExprBuilder, Dims, DimsExprs, PluginTensorDesc,
        DynamicPluginTensorDesc, PluginField, Logger,
    ):  # fmt: skip
        setattr(module, item.__name__, item)
    module.PluginFieldCollection = list
    registry = Registry()
    module.get_plugin_registry = lambda: registry
    return module


def lean():
    """Return the lean runtime under the name `tensorrt`, with the two names that it lacks."""
    bindings = pytest.importorskip(BINDINGS, reason=WHY, exc_type=ImportError)
    module = types.ModuleType("tensorrt")
    module.__path__ = []
    module.__dict__.update({k: v for k, v in vars(bindings).items() if not k.startswith("__")})
    module.__version__ = bindings.__version__
    module.ITensor = type("ITensor", (), {})
    module.TensorFormat = getattr(bindings, "TensorFormat", stand_in().TensorFormat)
    return module


def layer_folder():
    """Return where NVIDIA's Python layer lies, without importing the native bindings."""
    try:
        found = importlib.util.find_spec(BINDINGS)
    except ImportError:
        found = None
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"NVIDIA's plugin layer is not installed: {WHY}")
    return f"{found.submodule_search_locations[0]}/plugin"


@contextlib.contextmanager
def plugin_layer(library):
    """Load NVIDIA's layer over ``library``; `tensorrt` is that while the context lasts."""
    folder = layer_folder()
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_ours(name)}
    sys.modules["tensorrt"] = library
    spec = importlib.util.spec_from_file_location(
        "tensorrt.plugin", f"{folder}/__init__.py", submodule_search_locations=[folder]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["tensorrt.plugin"] = library.plugin = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        for name in [name for name in sys.modules if _is_ours(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def _is_ours(name):
    return name == "tensorrt" or name.startswith("tensorrt.")
