"""Names are printed as they are."""

from segrt.cli import _console


def test_a_name_with_colons_is_no_picture(capsys):
    # `mask` between colons is the name of an emoji.
    table = _console.table("title", "name")
    table.add_row("cells:mask: 1 x 2")
    _console.results().print(table)
    _console.notes().print("layer cells:mask: said", markup=False)
    captured = capsys.readouterr()
    assert "cells:mask: 1 x 2" in captured.out
    assert "cells:mask: said" in captured.err
