"""Tell whether a change alters what the CUDA kernels' cases are launched with.

    PYTHONPATH=src python tools/kernel_sources.py before.json
    ... change the code that writes sources ...
    PYTHONPATH=src python tools/kernel_sources.py after.json --against before.json --compile sm_90

The first line writes every case's source, geometry and a digest of its parameters. The last one
does so again and lists the cases that differ, new ones and those that are gone. With ``--compile``
a source that differs is compiled before and after, and the case counts as the same where all
machine code is: comments and white space do not count then. Needs no GPU. Ends with 1 if a case
differs or is gone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
Case = dict[str, Any]


def cases() -> dict[str, Case]:
    """Return what every case is launched with, by kernel and spec."""
    from segrt.cuda.kernels._base import REGISTRY

    found = {}
    for name, kernel in REGISTRY:
        for spec in kernel.cases:
            launch = kernel.launch(spec)
            digest = hashlib.sha256()
            for array in kernel.parameters(spec, 0):
                plain = np.ascontiguousarray(array)
                digest.update(f"{plain.dtype}{plain.shape}".encode() + plain.tobytes())
            geometry = (launch.blocks, launch.threads, launch.shared_bytes, launch.maps)
            found[f"{name} {spec}"] = {
                "source": launch.source,
                "entry": launch.entry,
                "specific": launch.specific,
                "geometry": f"{geometry} {launch.persistent}",
                "parameters": digest.hexdigest(),
            }
    return found


def machine_code(case: Case, architecture: str) -> bytes:
    """Compile a case."""
    from segrt.cuda.driver import compile_source

    target = architecture + ("a" if case["specific"] else "")
    return compile_source(case["source"], target, case["entry"])


def differs(before: Case, after: Case, architectures: Sequence[str]) -> bool:
    """Say whether two cases differ; in their sources only if their machine code does.

    Args:
        before: A case.
        after: The same one later.
        architectures: What to compile for; none: sources count as they are.
    """
    if any(before[key] != after[key] for key in before if key != "source"):
        return True
    if before["source"] == after["source"]:
        return False
    if before["specific"]:
        architectures = [each for each in architectures if each == "sm_90"]
    return not architectures or any(
        machine_code(before, each) != machine_code(after, each) for each in architectures
    )


def main(arguments: list[str]) -> int:
    """Write, and compare if asked; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0] if __doc__ else "")
    parser.add_argument("file", type=Path, help="what to write")
    parser.add_argument("--against", type=Path, help="what was written before")
    parser.add_argument("--compile", default="", help="for which architectures, with commas")
    options = parser.parse_args(arguments)
    after = cases()
    options.file.write_text(json.dumps(after, indent=1), encoding="utf-8")
    if options.against is None:
        print(f"{len(after)} cases")
        return 0
    before: dict[str, Case] = json.loads(options.against.read_text(encoding="utf-8"))
    architectures = [each for each in options.compile.split(",") if each]
    changed = [k for k in before if k in after and differs(before[k], after[k], architectures)]
    gone, new = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    for title, names in (("differs", changed), ("gone", gone), ("new", new)):
        print("".join(f"{title}: {name[:160]}\n" for name in names), end="")
    print(f"{len(after) - len(changed) - len(new)} of {len(after)} cases are the same")
    return int(bool(changed or gone))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "src"))
    sys.exit(main(sys.argv[1:]))
