"""SymPy is imported when somebody computes with symbolic sizes, and not before."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def run(code: str) -> object:
    """Run statements in a fresh process; the last line is an expression, returned."""
    *statements, last = code.strip().splitlines()
    program = "\n".join(["import json, sys", *statements, f"print(json.dumps({last}))"])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_graph_is_read_and_made_without_sympy():
    loaded = run("""
import segrt.importers._base, segrt.passes._pipeline, onnx_ir
[name for name in sys.modules if name.split(".")[0] in ("sympy", "mpmath")]
""")
    assert loaded == []


def test_symbolic_arithmetic_works_as_ever():
    # The expected texts are what onnx_ir prints without SegRT.
    sums = "[str(ir.SymbolicDim('n') + 1), str(ir.SymbolicDim('n') * 2 - ir.SymbolicDim('m'))]"
    plain = run(f"import onnx_ir as ir\n{sums}")
    late = run(f"import segrt, onnx_ir as ir\n{sums}")
    assert late == plain
    assert plain[0] == "n + 1"


@pytest.mark.parametrize("first", ["sympy", "segrt"])
def test_sympy_itself_is_what_everybody_else_gets(first):
    found = run(f"""
import {first}
import segrt, onnx_ir as ir
import sympy
from sympy import Symbol
import sympy.core.numbers
n = ir.SymbolicDim(Symbol("n") + 2)
[sympy is sys.modules["sympy"], sympy.__file__.endswith("__init__.py"), str(n), str(n + 1)]
""")
    assert found == [True, True, "n + 2", "n + 3"]


def test_onnx_ir_looks_like_any_other_module():
    same = run("""
import segrt, onnx_ir, importlib.resources, importlib.machinery
loader = onnx_ir.__spec__.loader
kind = importlib.machinery.SourceFileLoader
[type(loader) is kind, onnx_ir.__loader__ is loader, importlib.resources.files(onnx_ir).is_dir()]
""")
    assert same == [True, True, True]
