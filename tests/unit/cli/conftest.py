import pytest

from segrt.cli import _app, _errors


@pytest.fixture
def segrt(capsys):
    """Run the command line; returns (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = _errors.run(_app.group, [str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
