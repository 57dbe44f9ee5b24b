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


_LEFT_OUT = pytest.StashKey[str]()


def pytest_collection_finish() -> None:
    """Keep the thousands of collected tests out of every later garbage collection."""
    gc.collect()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-gpu", action="store_true", help="tests that need a GPU fail instead of skipping"
    )
    parser.addoption(
        "--emulate-gpu",
        action="store_true",
        help="run only the tests that need a GPU, on emulated ones, as far as they come",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Emulate GPUs before test files are imported: some take names from the driver."""
    if config.getoption("--emulate-gpu"):
        from helpers.gpu_boundary import begin

        config.add_cleanup(begin().undo)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Let a test that came to the driver's boundary on an emulated GPU be skipped."""
    if call.excinfo is not None and item.config.getoption("--emulate-gpu"):
        from helpers.gpu_boundary import is_boundary

        if is_boundary(call.excinfo.value):
            skipped = pytest.skip.Exception("came to the driver").with_traceback(call.excinfo.tb)
            call.excinfo = pytest.ExceptionInfo.from_exception(skipped)
    return (yield)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests out that want more GPUs than there are: they are no failure even if required."""
    if config.getoption("--emulate-gpu"):
        others = [item for item in items if item.get_closest_marker("gpu") is None]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item.get_closest_marker("gpu") is not None]
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
