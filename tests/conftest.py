"""For all tests: one thread a library, since the tests themselves run side by side."""

import gc
import os

# Read by the libraries when they are loaded, so it must stand before their imports.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


def pytest_collection_finish() -> None:
    """Keep the thousands of collected tests out of every later garbage collection."""
    gc.collect()
    gc.freeze()
