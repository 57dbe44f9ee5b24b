"""The public names keep their meaning whatever is imported, in whatever order."""

import pytest

import segrt
from policy._source import run_python

FOLDERS = "import segrt.predict.options, segrt.verify.metrics\n"
FUNCTIONS = "assert all(type(f).__name__ == 'function' for f in (segrt.verify, segrt.predict))\n"


@pytest.mark.parametrize(
    "code",
    [
        "import segrt\n" + FUNCTIONS + FOLDERS + FUNCTIONS,
        FOLDERS + "import segrt\n" + FUNCTIONS + "from segrt.verify import metrics, shift",
        "from segrt import predict, verify\nimport segrt\n" + FOLDERS
        + "assert (predict, verify) == (segrt.predict, segrt.verify)",
    ],
)  # fmt: skip
def test_functions_stand_before_folders_of_the_same_name(code):
    assert run_python(code + "\nprint('done')") == "done\n"


def test_every_public_name_can_be_had():
    assert [name for name in segrt.__all__ if not hasattr(segrt, name)] == []


def test_other_names_cannot():
    code = "import segrt\nassert not hasattr(segrt, 'nothing')\nsegrt.more = 1\nprint(segrt.more)"
    assert run_python(code) == "1\n"
