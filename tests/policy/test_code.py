"""Code: runs nothing from files, has no stubs, documents what is public."""

import ast
import inspect
import pkgutil
from pathlib import Path

import pytest

import segrt
from policy._source import SOURCE, python_files, relative, tree

# Modules that turn bytes into running code, and builtins that do so with text.
CODE_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "code"}
CODE_BUILTINS = {"eval", "exec", "compile", "__import__"}
PROTOCOL_LIKE = {"Protocol", "ABC"}


def runs_code(module: ast.Module) -> list[str]:
    """Imports and calls through which a model file could run code."""
    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
            found += [f"{node.lineno}: import {name}" for name in names if name in CODE_MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module:
            name = node.module.split(".")[0]
            found += [f"{node.lineno}: from {name}"] if name in CODE_MODULES else []
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in CODE_BUILTINS:
                found.append(f"{node.lineno}: {node.func.id}()")
            found += [
                f"{node.lineno}: allow_pickle"
                for keyword in node.keywords
                if keyword.arg == "allow_pickle"
                and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
            ]
    return found


def stubs(module: ast.Module) -> list[str]:
    """Functions that pretend: they raise NotImplementedError or hold nothing."""
    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.Raise) and "NotImplementedError" in ast.dump(node):
            found.append(f"{node.lineno}: NotImplementedError")
        if isinstance(node, ast.ClassDef) and not _declares_only(node):
            found += [f"{f.lineno}: {f.name} is empty" for f in _functions(node) if _is_empty(f)]
        if isinstance(node, ast.Module):
            found += [f"{f.lineno}: {f.name} is empty" for f in _functions(node) if _is_empty(f)]
    return found


def _functions(scope: ast.ClassDef | ast.Module) -> list[ast.FunctionDef]:
    return [item for item in scope.body if isinstance(item, ast.FunctionDef)]


def _declares_only(node: ast.ClassDef) -> bool:
    bases = {getattr(base, "attr", getattr(base, "id", "")) for base in node.bases}
    return bool(bases & PROTOCOL_LIKE)


def _is_empty(function: ast.FunctionDef) -> bool:
    marks = {getattr(d, "id", getattr(d, "attr", "")) for d in function.decorator_list}
    if marks & {"overload", "abstractmethod"}:
        return False
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body:
        return True
    nothing = all(
        isinstance(item, ast.Pass)
        or (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
        for item in body
    )
    # A context manager's `__enter__`-like hooks may do nothing; plain functions may not.
    return nothing and not function.name.startswith("__")


def swallows(module: ast.Module) -> list[str]:
    """Handlers of Exception or BaseException that neither raise nor use what they caught."""
    found = []
    for node in ast.walk(module):
        if not isinstance(node, ast.ExceptHandler):
            continue
        broad = node.type is None or (
            isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
        )
        raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
        uses = node.name is not None and any(
            isinstance(inner, ast.Name) and inner.id == node.name for inner in ast.walk(node)
        )
        if broad and not raises and not uses:
            found.append(f"{node.lineno}: a broad except that swallows")
    return found


POLICIES = {"runs code": runs_code, "stub": stubs, "swallows": swallows}
SAMPLES = {
    "runs code": [
        "import pickle", "from marshal import loads", "eval('1')", "exec(text)",
        "np.load(path, allow_pickle=True)", "np.load(path, allow_pickle=trusted)",
        "__import__('os')",
    ],
    "stub": [
        "def f():\n    raise NotImplementedError", "def f():\n    ...", "def f():\n    pass",
        'class A:\n    def f(self):\n        """Later."""',
    ],
    "swallows": [
        "try:\n    f()\nexcept Exception:\n    pass",
        "try:\n    f()\nexcept BaseException as error:\n    x = 1",
        "try:\n    f()\nexcept:\n    x = 1",
    ],
}  # fmt: skip
HARMLESS = {
    "runs code": ["core.compile(model)", "np.load(path, allow_pickle=False)", "import json"],
    "stub": [
        "class A(Protocol):\n    def f(self): ...",
        "class A(ABC):\n    @abstractmethod\n    def f(self):\n        '''Do.'''",
        "def f():\n    return 1",
    ],
    "swallows": [
        "try:\n    f()\nexcept Exception as error:\n    raise A from error",
        "try:\n    f()\nexcept KeyError:\n    pass",
    ],
}


@pytest.mark.parametrize("policy", POLICIES)
def test_source_follows(policy):
    found = [
        f"{relative(path)}:{problem}"
        for path in python_files(SOURCE)
        for problem in POLICIES[policy](tree(path))
    ]
    assert found == []


@pytest.mark.parametrize(("policy", "code"), [(p, c) for p in SAMPLES for c in SAMPLES[p]])
def test_samples_are_found(policy, code):
    assert POLICIES[policy](ast.parse(code)) != []


@pytest.mark.parametrize(("policy", "code"), [(p, c) for p in HARMLESS for c in HARMLESS[p]])
def test_harmless_code_is_not(policy, code):
    assert POLICIES[policy](ast.parse(code)) == []


def undocumented(function: object) -> list[str]:
    """What a public function does not say: types, arguments, errors."""
    signature = inspect.signature(function)
    text = inspect.getdoc(function) or ""
    parameters = [p for p in signature.parameters.values() if p.name != "self"]
    problems = [f"{p.name} has no type" for p in parameters if p.annotation is p.empty]
    problems += [f"{p.name} is not described" for p in parameters if f"{p.name}:" not in text]
    if signature.return_annotation is inspect.Signature.empty:
        problems.append("no return type")
    if "Raises:" not in text:
        problems.append("does not say what it raises")
    return problems


def public_functions() -> dict[str, object]:
    found = {name: getattr(segrt, name) for name in segrt.__all__}
    return {name: value for name, value in found.items() if inspect.isfunction(value)}


def test_public_functions_are_documented():
    functions = public_functions()
    assert {"load", "build", "open_session", "verify", "predict", "record"} <= set(functions)
    problems = {name: undocumented(function) for name, function in functions.items()}
    assert {name: found for name, found in problems.items() if found} == {}


def test_an_undocumented_function_is_found():
    def bad(path, size: int):
        """Do something."""

    assert undocumented(bad) == [
        "path has no type", "path is not described", "size is not described", "no return type",
        "does not say what it raises",
    ]  # fmt: skip


def test_public_names_resolve():
    assert [name for name in segrt.__all__ if not hasattr(segrt, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = segrt.nothing


def shadowed(public: list[str], folder: Path) -> list[str]:
    """Public names that a module of the package would replace once it is imported."""
    return sorted(set(public) & {module.name for module in pkgutil.iter_modules([str(folder)])})


def test_no_module_takes_the_place_of_a_public_name():
    assert shadowed(segrt.__all__, SOURCE / "segrt") == []


def test_a_module_with_a_public_name_is_found(tmp_path):
    (tmp_path / "verify.py").write_text("")
    assert shadowed(["load", "verify"], tmp_path) == ["verify"]
