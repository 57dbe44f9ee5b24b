"""Architectures in YAML: what ``model.to_yaml()`` of Keras 2 and tf.keras before 2.6 returned.

Keras wrote them with PyYAML's plain dumper, so tuples carry Python's tag, and tf.keras' own lists
and dictionaries that of their class. Those three are read as what they hold; every other tag of
Python's, which could name any code, is refused. Nothing is executed.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

from segrt._optional import require
from segrt.errors import ModelFileError, UnsafeFileError
from segrt.importers._layer_graph import JsonObject

INSTALL = "pip install 'segrt[yaml]'"
_PYTHON = "tag:yaml.org,2002:python/"
_WRAPPERS = ("ListWrapper", "_ListWrapper", "_TupleWrapper", "_DictWrapper")
# An alias stands for all it names: a few kilobytes can spell out more than any memory holds.
_MOST_ITEMS = 4_000_000
_DEEPEST = 200


def is_yaml(text: bytes) -> bool:
    """Say whether an architecture is written in YAML; JSON begins with a brace."""
    return not text.lstrip().startswith(b"{") and b"class_name:" in text


def parse_yaml(text: bytes, what: str) -> JsonObject:
    """Parse an architecture.

    Args:
        text: The document; the caller bounds its size.
        what: Where it was found, for messages.

    Raises:
        UnavailableError: PyYAML is not installed.
        UnsafeFileError: A tag names code, or aliases spell out too much.
        ModelFileError: It is not YAML, or no mapping.
    """
    yaml = require("yaml", purpose="reading an architecture in YAML", install=INSTALL)
    try:
        value = yaml.load(text, Loader=_loader(yaml))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ModelFileError(
            f"{what} is not valid YAML",
            found=" ".join(str(error).split())[:200],
            hint="save the model or its architecture again from Keras",
        ) from error
    if not isinstance(value, dict):
        raise ModelFileError(f"{what} is not a mapping", found=type(value).__name__)
    _check_extent(value, what)
    return value


@cache
def _loader(yaml: ModuleType) -> Any:
    """Return PyYAML's safe loader, taught the three tags."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        def flatten_mapping(self, node: Any) -> None:
            """Leave merge keys alone: Keras writes none, and they multiply what they merge."""
            if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
                raise ValueError("a merge key (<<), which Keras does not write")

    def sequence(loader: Any, node: Any) -> list[Any]:
        return list(loader.construct_sequence(node, deep=True))

    def wrapped(loader: Any, suffix: str, node: Any) -> Any:
        if suffix.rpartition(".")[2] not in _WRAPPERS:
            raise UnsafeFileError(
                "the architecture in YAML names Python code; it was not read",
                found=f"!!python/object/...:{suffix}"[:120],
                hint="save the architecture as JSON: model.to_json()",
            )
        if isinstance(node, yaml.SequenceNode):  # the arguments of the class: what it holds
            (held,) = loader.construct_sequence(node, deep=True) or [[]]
            return held
        return loader.construct_mapping(node, deep=True).get("state", {})

    Loader.add_constructor(f"{_PYTHON}tuple", sequence)
    for kind in ("object/apply:", "object/new:", "object:", "name:", "module:"):
        Loader.add_multi_constructor(f"{_PYTHON}{kind}", wrapped)
    return Loader


def _check_extent(value: Any, what: str) -> None:
    """Refuse what spells out to more items than any architecture has, or contains itself."""
    count, stack = 0, [(value, 0)]
    while stack:
        item, depth = stack.pop()
        children: list[Any] = []
        if isinstance(item, dict):
            children = list(item.values())
        elif isinstance(item, list):
            children = item
        count += len(children)
        if count > _MOST_ITEMS or depth > _DEEPEST:
            raise UnsafeFileError(
                f"{what} spells out to more than an architecture can be",
                found=f"more than {count} items, {depth} deep",
            )
        stack += [(child, depth + 1) for child in children]
