"""Every way to fail: a message on stderr, the right exit code, and no traceback."""

import os
import sys

import click
import pytest

from segrt import api, errors
from segrt.cli import _app, _errors


def failing(error):
    @click.command()
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SegrtError("what"), 1),
        (errors.VerificationError("what"), 1),
        (errors.UsageError("what"), 2),
        (errors.ModelFileError("what"), 3),
        (errors.UnsupportedLayerError("what", [("a", "B")]), 3),
        (errors.UnavailableError("what"), 4),
        (PermissionError(13, "what", "file"), 1),
        (click.UsageError("what"), 2),
        (ZeroDivisionError("what"), 1),
    ],
)
def test_exit_codes(error, code, capsys):
    assert _errors.run(failing(error), []) == code
    captured = capsys.readouterr()
    assert "what" in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_message_says_found_wanted_and_what_to_do(capsys):
    error = errors.UsageError("wrong", found="this", wanted="that", hint="so")
    _errors.run(failing(error), [])
    assert capsys.readouterr().err == "Error: wrong\n  found: this\n  wanted: that\n  do: so\n"


def test_unexpected_errors_ask_for_a_report(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["segrt", "build", "x"])
    _errors.run(failing(KeyError("x")), [])
    text = capsys.readouterr().err
    assert "Unexpected error: KeyError: 'x'" in text
    assert "segrt --traceback build x" in text


def test_memory_errors_say_what_helps(capsys):
    assert _errors.run(failing(MemoryError()), []) == 1
    assert "--tile" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interruption(error, capsys):
    assert _errors.run(failing(error), []) == 130
    assert "stopped" in capsys.readouterr().err


def test_traceback_is_shown_when_asked_for(capsys, monkeypatch, tmp_path):
    def broken(*_args, **_options):
        raise KeyError("inside")

    monkeypatch.setattr(api, "load", broken)
    code = _errors.run(_app.group, ["--traceback", "inspect", str(tmp_path)])
    text = capsys.readouterr().err
    assert code == 1
    assert "Traceback" in text
    assert "in broken" in text


def test_a_closed_pipe_is_no_error(monkeypatch, tmp_path):
    target = (tmp_path / "out").open("w")
    monkeypatch.setattr(sys, "stdout", target)
    assert _errors.run(failing(BrokenPipeError()), []) == 0
    target.write("after")
    target.close()
    # What is written afterwards goes nowhere.
    assert os.path.getsize(tmp_path / "out") == 0  # noqa: PTH202


def test_results_become_exit_codes():
    @click.command()
    def command():
        return 1

    assert _errors.run(command, []) == 1


def test_unknown_verbs_and_options(segrt):
    code, _, err = segrt("frobnicate")
    assert code == 2
    assert "No such command" in err
    code, _, err = segrt("build", "--frobnicate")
    assert code == 2
    assert "No such option" in err
