"""TensorFlow's formats, turned into ONNX by tf2onnx in a process of its own.

TensorFlow can run code of its own choosing while it loads a graph, and tf2onnx runs parts of it to
fold constants. So `_tensorflow_child` looks at the names of all operators first, without loading
anything, and whatever happens there, happens in another process with a time limit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from segrt._optional import is_installed
from segrt.errors import (
    ModelFileError,
    SegrtError,
    UnavailableError,
    UnsafeFileError,
    UsageError,
)
from segrt.graph.metadata import Source
from segrt.importers._onnx_read import read_proto
from segrt.importers._random import inference_hint
from segrt.importers.onnx_file import from_proto

_SECONDS = 900
_CHILD = Path(__file__).with_name("_tensorflow_child.py")
INSTALL = "pip install 'segrt[tf]'"
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "TF_ENABLE_ONEDNN_OPTS": "0"}


def convert(path: Path, request: Mapping[str, Any], source: Source) -> ir.Model:
    """Convert a file and read the result as any other ONNX file.

    Args:
        path: The folder or file.
        request: What the child is asked: ``kind``, ``inputs``, ``outputs``.
        source: Recorded in the metadata; the converter's name is added.

    Raises:
        UnavailableError: TensorFlow or tf2onnx is not installed.
        UnsafeFileError: The graph holds operators that touch files, processes or Python.
        UnsupportedLayerError: tf2onnx left operators that are not ONNX' own; all are listed.
        ModelFileError: The file is damaged, or the conversion failed.
        UsageError: Outputs are missing or unknown.
    """
    missing = [name for name in ("tensorflow", "tf2onnx") if not is_installed(name)]
    if missing:
        raise UnavailableError(
            f"reading {path.name} ({source.format}) needs TensorFlow and tf2onnx",
            found=f"not installed: {', '.join(missing)}",
            hint=f"run: {INSTALL}; or export ONNX where TensorFlow is installed",
        )
    with tempfile.TemporaryDirectory(prefix="segrt-") as folder:
        target = Path(folder) / "model.onnx"
        answer = _ask(path, {**request, "path": str(path.resolve()), "target": str(target)}, folder)
        if answer["result"] != "ok":
            raise _error(path, answer)
        proto, _ = read_proto(target)
        made = " ".join(filter(None, (proto.producer_name, proto.producer_version)))
        return from_proto(proto, target, replace(source, backend=made))


def _ask(path: Path, request: Mapping[str, Any], folder: str) -> dict[str, Any]:
    asked, answered = Path(folder) / "request.json", Path(folder) / "answer.json"
    asked.write_text(json.dumps(dict(request)), encoding="utf-8")
    # -P: this folder's modules must not shadow the standard library's.
    command = [sys.executable, "-P", str(_CHILD), str(asked), str(answered)]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and file, no shell
            command,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            cwd=folder,
            env={**os.environ, **_QUIET},
        )
    except subprocess.TimeoutExpired as error:
        raise ModelFileError(
            f"TensorFlow did not finish converting {path.name}", found=f"{_SECONDS} s"
        ) from error
    if not answered.is_file():
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise ModelFileError(
            f"TensorFlow ended its process on {path.name}",
            found=f"exit status {done.returncode}: {' '.join(last)}"[:300],
        )
    found: dict[str, Any] = json.loads(answered.read_text("utf-8"))
    return found


def _error(path: Path, answer: Mapping[str, Any]) -> SegrtError:
    found: Sequence[Any] = answer.get("found", ())
    listed = ", ".join(map(str, found))[:400]
    if answer["result"] == "unsafe":
        return UnsafeFileError(
            f"{path.name} holds operators that no network needs; it was not loaded",
            found=listed,
            wanted="operators that compute, as tf2onnx knows them",
        )
    if answer["result"] == "outputs":
        return UsageError(
            f"{path.name}: {answer['message']}",
            found=listed,
            wanted="names such as mask/Sigmoid:0",
            hint="--outputs NAME:0 (in Python: outputs=['NAME:0'])",
        )
    message = str(answer["message"])
    return ModelFileError(
        f"{path.name} cannot be converted", found=message[:400], hint=inference_hint([message])
    )
