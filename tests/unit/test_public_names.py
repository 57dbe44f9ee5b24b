"""The public names mean the same whatever has been imported."""

import pkgutil

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
