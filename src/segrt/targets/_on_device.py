"""Open a package on one GPU."""

from __future__ import annotations

import os
from typing import Any

from segrt.cuda.devices import on_device
from segrt.errors import UsageError
from segrt.targets._base import Session
from segrt.targets._build import open_package
from segrt.targets._package import Package


def open_on(
    device: int | None, package: Package | str | os.PathLike[str], **options: Any
) -> Session:
    """Open a session on a package; see `segrt.targets._build.open_package`.

    Args:
        device: The GPU; None leaves it open.
        package: A package or its path.
        options: As `open_package` takes them.

    Raises:
        UsageError: Nothing in the package runs on a GPU, and one was chosen.
    """
    if device is None:
        return open_package(package, **options)
    with on_device(device) as chosen:
        session = open_package(package, **options)
    if not chosen.used:
        session.close()
        raise UsageError(
            "the package runs on no GPU, so no device can be chosen",
            found=f"device {device}",
            hint="leave the device out",
        )
    return session
