"""Tell whether a change alters what the CUDA kernels' cases are launched with.

    PYTHONPATH=src python tools/kernel_sources.py before.json
    ... change the code that writes sources ...
    PYTHONPATH=src python tools/kernel_sources.py after.json --against before.json --compile sm_90

The first line writes every case's source, geometry and a digest of its parameters. The last one
does so again and lists the cases for which there is none any more that is launched with the same;
new ones are no matter. With ``--compile`` sources that differ are compiled, and count as the same
where all machine code is: comments and white space are no matter then. Needs no GPU. Ends with 1 if
a case is listed.
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


def stands(case: Case, after: dict[str, Case], architectures: Sequence[str]) -> bool:
    """Say whether any case of the same kernel is the same: how specs are written may change."""
    kernel = [other for other in after.values() if other["entry"] == case["entry"]]
    same = [other for other in kernel if other["source"] == case["source"]]
    return any(not differs(case, other, architectures) for other in same or kernel)


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
    gone = [name for name, case in before.items() if not stands(case, after, architectures)]
    print("".join(f"no longer: {name[:160]}\n" for name in gone), end="")
    print(f"{len(before) - len(gone)} of {len(before)} cases are the same; {len(after)} now")
    return int(bool(gone))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "src"))
    sys.exit(main(sys.argv[1:]))
