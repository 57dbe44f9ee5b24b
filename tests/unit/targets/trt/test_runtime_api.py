"""The names, enumerations and signatures that the session uses, in the real libraries.

No engine can be run without a GPU, but that these exist, and with which parameters, can be read
from the library itself. The fakes that the session's tests run on have nothing but these.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import segrt.targets.trt
from helpers import tensorrt_api, tensorrt_fakes
from segrt.targets.trt._flavour import FULL, RTX

# Full TensorRT itself comes from an index of NVIDIA's own; its lean runtime has the same runtime
# classes and is an ordinary wheel: pip install tensorrt_lean_cu13_libs tensorrt_lean_cu13_bindings
_FULL_MODULES = ("tensorrt", "tensorrt_lean", "tensorrt_lean_bindings")
_PARAMETER = re.compile(r"[(,] ?(\w+): ")
# What variables of these names hold in the session's code.
_HOLDS = {
    "runtime": "Runtime", "_runtime": "Runtime", "engine": "ICudaEngine",
    "context": "IExecutionContext", "config": "IRuntimeConfig", "_config": "IRuntimeConfig",
    "cache": "IRuntimeCache", "_cache": "IRuntimeCache", "library": "module",
}  # fmt: skip


@pytest.fixture(name="rtx", scope="module")
def real_rtx() -> ModuleType:
    return pytest.importorskip(
        "tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install .[rtx]"
    )


@pytest.fixture(name="full", scope="module")
def real_full() -> ModuleType:
    for name in _FULL_MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    pytest.skip(
        "neither TensorRT nor its lean runtime is installed: pip install "
        "tensorrt_lean_cu13_libs tensorrt_lean_cu13_bindings"
    )


def check(library: ModuleType, table: dict[str, dict[str, tuple[str, ...]]]) -> None:
    for kind, attributes in table.items():
        # Its module does not name the class of the cache; a method's text does.
        found = getattr(library, kind)
        for name, parameters in attributes.items():
            attribute = getattr(found, name)
            if parameters is tensorrt_api.PROPERTY:
                assert isinstance(attribute, property), f"{kind}.{name}"
            else:
                assert parameters in signatures(attribute.__doc__, name), f"{kind}.{name}"


def signatures(text: str, name: str) -> list[tuple[str, ...]]:
    """Read pybind11's signatures: the names of the parameters, without `self`."""
    lines = [line for line in text.splitlines() if f"{name}(self: " in line]
    return [tuple(_PARAMETER.findall(line))[1:] for line in lines]


def check_enums(library: ModuleType, table: dict[str, tuple[str, ...]]) -> None:
    for kind, members in table.items():
        assert set(members) <= set(getattr(library, kind).__members__)


def test_rtx_has_what_is_used(rtx):
    check(rtx, tensorrt_api.USED)
    check(rtx, tensorrt_api.USED_OF_RTX)
    check_enums(rtx, tensorrt_api.ENUMS | tensorrt_api.ENUMS_OF_RTX)
    assert all(hasattr(rtx, name) for name in tensorrt_api.FUNCTIONS)


def test_full_tensorrt_has_what_is_used(full):
    check(full, tensorrt_api.USED)
    check_enums(full, tensorrt_api.ENUMS)
    assert all(hasattr(full, name) for name in tensorrt_api.FUNCTIONS)


def test_a_missing_name_and_another_signature_are_found(rtx):
    with pytest.raises(AttributeError):
        check(rtx, {"Runtime": {"deserialize": ("plan",)}})
    with pytest.raises(AssertionError):
        check(rtx, {"IExecutionContext": {"set_input_shape": ("name", "sizes")}})


def test_a_context_without_a_configuration_is_made_by_default(full):
    text = full.ICudaEngine.create_execution_context.__doc__
    assert "= <ExecutionContextAllocationStrategy.STATIC: 0>" in text


def test_the_gpus_of_rtx_are_those_the_library_names(rtx):
    names = [name for name in rtx.ComputeCapability.__members__ if name.startswith("SM")]
    found = {(int(name[2:-1]), int(name[-1])) for name in names}
    assert set(RTX.capabilities) == found


@pytest.mark.parametrize("flavour", [RTX, FULL], ids=lambda flavour: flavour.name)
def test_fakes_have_nothing_that_the_library_has_not(flavour):
    allowed = tensorrt_api.names(rtx=flavour.runtime_config)
    fake = tensorrt_fakes.FakeTensorRt(rtx=flavour.runtime_config)
    for kind, made in fake.classes().items():
        public = {name for name in dir(made) if not name.startswith("_")}
        assert public <= allowed[kind], kind


@pytest.mark.parametrize("file", ["runtime.py", "session.py", "tensors.py"])
def test_the_session_uses_nothing_else(file):
    path = Path(inspect.getfile(segrt.targets.trt)).parent / file
    allowed = tensorrt_api.names(rtx=True)
    modules = {*tensorrt_api.FUNCTIONS, *tensorrt_api.ENUMS, *tensorrt_api.ENUMS_OF_RTX}
    allowed["module"] = modules | {"__version__"}
    used = accesses(ast.parse(path.read_text(encoding="utf-8")))
    assert used
    for kind, name in used:
        assert name in allowed[kind], f"{file}: {kind}.{name}"


def accesses(tree: ast.AST) -> set[tuple[str, str]]:
    """Find ``context.name`` and ``self.context.name``, as class and name."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value
            label = getattr(owner, "attr", getattr(owner, "id", ""))
            if label in _HOLDS:
                found.add((_HOLDS[label], node.attr))
    return found
