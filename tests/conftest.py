"""Options of the whole suite."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-gpu", action="store_true", help="tests that need a GPU fail instead of skipping"
    )


@pytest.fixture(autouse=True)
def _needs_gpu(request: pytest.FixtureRequest) -> None:
    """Skip tests marked ``gpu`` where none can be used, or fail them if one was required."""
    if request.node.get_closest_marker("gpu") is None:
        return
    from segrt.cuda.driver import missing

    problem = missing()
    if problem is None:
        return
    if request.config.getoption("--require-gpu"):
        pytest.fail(f"a GPU was required: {problem}")
    pytest.skip(problem)
