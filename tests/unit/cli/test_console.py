"""Names are printed as they are."""

import pytest

from segrt.cli import _console


# `mask` between colons is the name of an emoji; brackets are markup, and [/b] ends none.
@pytest.mark.parametrize("name", ["cells:mask: 1 x 2", "conv[0]/kernel", "conv[bold]", "a[/b]c"])
def test_a_name_is_neither_a_picture_nor_markup(capsys, name):
    table = _console.table(f"title {name}", "name")
    table.add_row(f"row {name}")
    _console.results().print(table)
    _console.notes().print(f"layer {name} said")
    captured = capsys.readouterr()
    assert f"title {name}" in captured.out
    assert f"row {name}" in captured.out
    assert f"layer {name} said" in captured.err
