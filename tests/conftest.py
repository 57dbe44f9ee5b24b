"""For all tests: one thread a library, since they run side by side; tests that need a GPU."""

import gc
import os

import pytest

# Read by the libraries when they are loaded, so it must stand before their imports.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


def pytest_collection_finish() -> None:
    """Keep the thousands of collected tests out of every later garbage collection."""
    gc.collect()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-gpu", action="store_true", help="tests that need a GPU fail instead of skipping"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked ``gpu`` where none can be used, or fail them if one was required."""
    if item.get_closest_marker("gpu") is None:
        return
    from segrt.cuda.driver import missing

    problem = missing()
    if problem is None:
        return
    if item.config.getoption("--require-gpu"):
        pytest.fail(f"a GPU was required: {problem}")
    pytest.skip(problem)
