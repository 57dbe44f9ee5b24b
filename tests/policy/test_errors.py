"""Errors: the tree in the docstring is the tree in the code, exit codes included."""

import inspect
import re

from segrt import errors

LINE = re.compile(
    r"^    (?P<rails>[| ]*)(?:\+-- )?(?P<name>[A-Z]\w+)\s+(?:exit code )?(?P<code>\d)"
)


def drawn(text: str) -> dict[str, tuple[str, int]]:
    """Read the drawing: class -> (parent, exit code)."""
    found: dict[str, tuple[str, int]] = {}
    above: list[str] = []
    for line in text.splitlines():
        match = LINE.match(line)
        if not match:
            continue
        depth = len(match["rails"]) // 4 + ("+--" in line)
        above[depth:] = [match["name"]]
        found[match["name"]] = (above[depth - 1] if depth else "Exception", int(match["code"]))
    return found


def defined() -> dict[str, tuple[str, int]]:
    classes = [value for _, value in inspect.getmembers(errors, inspect.isclass)]
    own = [value for value in classes if value.__module__ == errors.__name__]
    return {value.__name__: (value.__mro__[1].__name__, value.exit_code) for value in own}


def test_the_drawing_is_the_tree():
    assert drawn(errors.__doc__ or "") == defined()


def test_the_drawing_can_be_wrong():
    text = "    Base        exit code 1\n    +-- Child   2  words\n    |   +-- Grand  3  words\n"
    assert drawn(text) == {"Base": ("Exception", 1), "Child": ("Base", 2), "Grand": ("Child", 3)}
    assert drawn((errors.__doc__ or "").replace("ShapeError ", "ShipError  ")) != defined()


def test_messages_say_what_to_do():
    error = errors.UsageError("what", found="a", wanted="b", hint="c")
    assert str(error) == "what\n  found: a\n  wanted: b\n  do: c"
    assert str(errors.SegrtError("what")) == "what"
