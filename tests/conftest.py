"""For all tests: one thread a library, since they run side by side; tests that need a GPU."""

import gc
import os

import pytest

# Read by the libraries when they are loaded, so it must stand before their imports.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


_LEFT_OUT = pytest.StashKey[str]()


def pytest_collection_finish() -> None:
    """Keep the thousands of collected tests out of every later garbage collection."""
    gc.collect()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-gpu", action="store_true", help="tests that need a GPU fail instead of skipping"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests out that want more GPUs than there are: they are no failure even if required."""
    wanted = {item: marker.args[0] for item in items if (marker := item.get_closest_marker("gpus"))}
    if not wanted:
        return
    from segrt.cuda.driver import count

    here = count()
    left_out = [item for item, least in wanted.items() if least > here]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
        config.stash[_LEFT_OUT] = f"{len(left_out)} tests left out: they want more than {here} GPUs"


def pytest_report_collectionfinish(config: pytest.Config) -> str | list[str]:
    """Say how many tests were left out."""
    return config.stash.get(_LEFT_OUT, [])


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
