"""Tests: each of them can fail."""

import ast
from collections.abc import Iterable

from policy._source import TESTS, python_files, relative, tree


def checking_functions(modules: Iterable[ast.Module]) -> set[str]:
    """Names of the helpers that check something, themselves or through one another."""
    helpers = [
        node
        for module in modules
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("test_")
    ]
    known: set[str] = set()
    while True:
        found = {helper.name for helper in helpers if _checks(helper, known)}
        if found == known:
            return known
        known = found


def without_check(module: ast.Module, helpers: set[str]) -> list[str]:
    """Names of test functions that check nothing, themselves or through a helper."""
    return [
        f"{node.lineno}: {node.name}"
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and not _checks(node, helpers)
    ]


def _checks(function: ast.FunctionDef, helpers: set[str]) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            if not (isinstance(node.test, ast.Constant) and node.test.value):
                return True
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("raises", "warns", "fail") or name.startswith("assert_") or name in helpers:
                return True
    return False


def test_every_test_checks_something():
    trees = {path: tree(path) for path in python_files(TESTS)}
    helpers = checking_functions(trees.values())
    found = [
        f"{relative(path)}:{problem}"
        for path, module in trees.items()
        for problem in without_check(module, helpers)
    ]
    assert found == []


def test_a_test_that_checks_nothing_is_found():
    assert without_check(ast.parse("def test_a():\n    f()"), set()) == ["1: test_a"]
    assert without_check(ast.parse("def test_a():\n    assert True"), set()) == ["1: test_a"]
    assert without_check(ast.parse("def test_a():\n    assert f() == 1"), set()) == []
    assert without_check(ast.parse("def test_a():\n    assert_close(a, b)"), set()) == []


def test_helpers_count_if_they_check():
    code = (
        "def f():\n    g()\ndef g():\n    assert x\ndef h():\n    x = 1\ndef test_a():\n    {}()\n"
    )
    module = ast.parse(code.format("f"))
    helpers = checking_functions([module])
    assert helpers == {"f", "g"}
    assert without_check(module, helpers) == []
    assert without_check(ast.parse(code.format("h")), helpers) == ["7: test_a"]
