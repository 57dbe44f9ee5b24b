"""The public names mean the same whatever has been imported."""

import ast
import pkgutil
from pathlib import Path

import segrt


def hidden(names: list[str], modules: list[str]) -> set[str]:
    """Names that a folder or file of the package would take over once it is imported."""
    return set(names) & set(modules)


def test_no_folder_or_file_bears_a_public_name():
    modules = [module.name for module in pkgutil.iter_modules(segrt.__path__)]
    assert "importers" in modules
    assert hidden(segrt.__all__, modules) == set()


def test_a_folder_of_a_public_name_is_found():
    assert hidden(["load", "verify"], ["graph", "verify"]) == {"verify"}


def told_to_type_checkers(source: str) -> set[str]:
    """Names imported under ``if TYPE_CHECKING:``, all that a type checker sees of the package."""
    return {
        alias.asname or alias.name
        for block in ast.walk(ast.parse(source))
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_type_checkers_know_every_public_name():
    source = Path(segrt.__file__).read_text(encoding="utf-8")
    assert told_to_type_checkers(source) == set(segrt.__all__) - {"__version__"}
    assert set(segrt.__all__) - {"__version__"} == set(segrt._HOME_OF)


def test_a_name_that_type_checkers_do_not_know_is_found():
    source = "if TYPE_CHECKING:\n    from a import b\nif other:\n    from a import c\n"
    assert told_to_type_checkers(source) == {"b"}
