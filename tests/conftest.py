"""For all tests: the same on every machine; tests that need a GPU."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# One thread a library, since tests run side by side. Read by the libraries when they are loaded, so
# it must stand before their imports.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# The same examples everywhere, and a slow machine is no failure. Others than these:
# pytest --hypothesis-profile=default
settings.register_profile(
    "segrt",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("segrt")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither read nor leave compiled kernels in the user's cache, unless a folder was given."""
    with pytest.MonkeyPatch.context() as patch:
        if "SEGRT_CACHE" not in os.environ:
            patch.setenv("SEGRT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


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
