"""Files that are written: never over what was read, never in place of a device."""

from __future__ import annotations

from pathlib import Path

from segrt.errors import UsageError


def check_output(output: Path, *sources: Path | None) -> None:
    """Refuse to write a file where something would be lost.

    Args:
        output: The file to write. One that exists is replaced.
        sources: Files that are read; None is skipped. A link to one is the same file.

    Raises:
        UsageError: ``output`` is one of ``sources``, a directory, or no plain file (renaming a
            finished file to ``/dev/null`` would replace the device).
    """
    if not output.exists():
        return
    if not output.is_file():
        raise UsageError(
            f"{output} cannot be written",
            found="a directory" if output.is_dir() else "a device or pipe",
            wanted="a file, or a name that is free",
        )
    for source in sources:
        if source is not None and source.exists() and output.samefile(source):
            raise UsageError(
                f"{output} is read, so it is not written over", hint="choose another name"
            )


def check_report(output: Path, *sources: Path | None) -> None:
    """Refuse, before the work is done, a file that a report could not be written to at its end.

    Devices such as ``/dev/stdout`` are taken: a report is written to them, not renamed.

    Raises:
        UsageError: As `check_output`, or no folder can be made for it.
    """
    if output.is_file() or output.is_dir():
        check_output(output, *sources)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{output} cannot be written", found=error.strerror or str(error)
        ) from error


def write_text(output: Path, text: str) -> None:
    """Write text in UTF-8, into folders made for it; devices such as ``/dev/stdout`` take it too.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{output} cannot be written", found=error.strerror or str(error)
        ) from error
