"""Python files that the user names himself: the only code from outside that is ever run."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path

from segrt.errors import SegrtError, UsageError


def import_file(path: Path) -> None:
    """Import a Python file of the user's, once; what it registers is there from then on.

    Only ever to be called with what the user named himself: this runs the file.

    Raises:
        UsageError: It cannot be imported.
    """
    # The same file once more, named by another option, defines nothing new.
    name = f"segrt_user_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file", wanted="a file that ends with .py")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and the like look their own module up there.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SegrtError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise UsageError(
            f"{path} cannot be imported", found=f"{type(error).__name__}: {error}"
        ) from error
