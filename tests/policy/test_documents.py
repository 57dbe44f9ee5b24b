"""Documents: each command that they show is one that the command line takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from policy._source import relative, repository_files
from segrt.cli import _app

_COMMAND = re.compile(r"^ {4}(?:\w+\$ +)?(segrt .*)$", re.MULTILINE)


def documents() -> list[Path]:
    found = [path for path in repository_files() if path.suffix == ".md"]
    assert found
    return found


def wrong_command(line: str) -> str | None:
    """Say what the command line refuses in one command, files aside; None for nothing."""
    words = shlex.split(line, comments=True)[1:]
    verb = next((word for word in words if not word.startswith("-")), "--help")
    command = _app.group.get_command(click.Context(_app.group), verb)
    if command is None:
        return None if verb == "--help" else f"no verb {verb}"
    context = click.Context(command, info_name=verb)
    try:
        options, _, _ = command.make_parser(context).parse_args(words[words.index(verb) + 1 :])
        for parameter in command.params:
            value = options.get(parameter.name or "")
            # Files need not exist here; "..." stands for whatever one asks for.
            if isinstance(parameter.type, click.Path) or not isinstance(value, str | list):
                continue
            for one in [value] if isinstance(value, str) else value:
                parameter.type.convert(one, parameter, context)
    except click.ClickException as error:
        return error.format_message()
    return None


def commands(text: str) -> Iterator[str]:
    for match in _COMMAND.finditer(text):
        line = match.group(1)
        # Usage (`MODEL ...`) is no command.
        if not re.search(r"(?:^|\s)(?:\.\.\.|VERB)(?:\s|$)", line.partition("  #")[0]):
            yield line


def test_commands_are_taken():
    every = [(path, line) for path in documents() for line in commands(path.read_text("utf-8"))]
    assert len(every) > 40
    wrong = [
        f"{relative(path)}: {line}: {problem}"
        for path, line in every
        if (problem := wrong_command(line)) is not None
    ]
    assert wrong == []


def test_examples_of_the_help_are_taken():
    wrong, count = [], 0
    for verb in _app.group.list_commands(click.Context(_app.group)):
        command = _app.group.get_command(click.Context(_app.group), verb)
        assert command is not None
        lines = re.findall(r"^  (segrt .*?)(?: {3,}|$)", command.epilog or "", re.MULTILINE)
        count += len(lines)
        wrong += [f"{line}: {why}" for line in lines if (why := wrong_command(line)) is not None]
    assert wrong == []
    assert count > 30


def test_wrong_commands_are_found():
    assert wrong_command("segrt build a.h5 -o b.segrt --precision fp32   # sound") is None
    assert "precision" in (wrong_command("segrt build a.h5 -o b --precision bf17") or "")
    assert "--frobnicate" in (wrong_command("segrt build a.h5 --frobnicate 3") or "")
    assert wrong_command("segrt frobnicate") == "no verb frobnicate"
