"""Records what real Keras computes in every layer, for comparison on machines without Keras."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from segrt.errors import EngineError, SegrtError, ShapeError, UsageError, VerificationError
from segrt.verification._keras_load import choose_keras, keras_version, load_keras, read_file
from segrt.verification._keras_walk import FloatArray, LayerWalk

FORMAT = 1
# Outputs run layer by layer against the whole model at once; half-precision layers differ more.
_CONSISTENCY = {"float32": 1e-5, "float16": 2e-2, "bfloat16": 1e-1}

Inputs: TypeAlias = npt.NDArray[Any] | Sequence[npt.NDArray[Any]] | Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Recording:
    """What `record` wrote.

    Attributes:
        path: The ``.npz`` file.
        layers: Value names of all recorded layer calls, in the order they ran.
        outputs: Value names of the model's outputs.
        keras_version: Of the Keras that ran.
    """

    path: Path
    layers: tuple[str, ...]
    outputs: tuple[str, ...]
    keras_version: str


def record(
    model_path: str | os.PathLike[str],
    inputs: Inputs,
    output: str | os.PathLike[str],
    *,
    architecture: str | os.PathLike[str] | None = None,
    allow_code: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
) -> Recording:
    """Run a Keras model file with real Keras and write every layer's output.

    The ``.npz`` holds ``input/<name>``, ``output/<name>`` and ``layer/<value name>`` as float32
    in the model's own layout, batch first, and ``meta`` (JSON). Layers are written as they are
    computed, so memory stays near that of the largest few tensors.

    Args:
        model_path: ``.h5``, ``.hdf5`` or ``.keras`` file.
        inputs: One array (batch first), one a model input in order, or a mapping by input name.
        output: The ``.npz`` to write; replaced only when the recording is complete.
        architecture: JSON of `model.to_json()`, for files that hold weights only.
        allow_code: Let Keras run Lambda code from the file; only for files you trust.
        custom_objects: Your own layer classes by name.

    Raises:
        UnavailableError: No fitting Keras is installed.
        ModelFileError: The file cannot be loaded.
        UnsafeFileError: The file holds code and ``allow_code`` is off.
        UnsupportedConfigError: The model is neither Functional nor Sequential.
        ShapeError: The inputs have different batch sizes.
        EngineError: Keras cannot run the model on these inputs.
        VerificationError: The layers, run one by one, do not add up to what the model returns.
    """
    file = read_file(Path(model_path), None if architecture is None else Path(architecture))
    keras = choose_keras(file.keras_version)
    model = load_keras(
        file,
        keras,
        allow_code=allow_code,
        custom_objects=custom_objects,
    )
    meta = {
        "source_file": file.path.name,
        "source_keras_version": file.keras_version,
        "source_sha256": _sha256(file.path),
    }
    return record_model(keras, model, inputs, Path(output), meta)


def record_model(
    keras: Any, model: Any, inputs: Inputs, output: Path, meta: Mapping[str, Any]
) -> Recording:
    """Write the recording of a Keras model that is already in memory; see `record`.

    Args:
        keras: The Keras module the model belongs to.
        model: A Functional or Sequential model.
        inputs: As in `record`.
        output: As in `record`.
        meta: Further entries of the recording's ``meta``.
    """
    walk = LayerWalk(keras)
    names = walk.input_names(model)
    arrays = _match_inputs(names, inputs)
    outputs = walk.output_names(model)
    policies = sorted({_compute_dtype(layer) for layer in model.layers})
    described = {
        "format": FORMAT,
        "keras_version": keras_version(keras),
        "backend": keras.backend.backend(),
        "model_name": model.name,
        "made_by": "segrt record",
        "compute_dtypes": policies,
        **meta,
    }
    whole = dict(zip(outputs, _whole_model(walk, model, arrays), strict=True))
    budget = max(_CONSISTENCY.get(policy, _CONSISTENCY["float32"]) for policy in policies)
    layers: list[str] = []

    def entries() -> Iterator[tuple[str, npt.NDArray[Any]]]:
        yield "meta", np.array(json.dumps(described, sort_keys=True))
        yield from ((f"input/{name}", array) for name, array in zip(names, arrays, strict=True))
        yield from ((f"output/{name}", array) for name, array in whole.items())
        for name, array in walk.values(model, arrays):
            if name in whole:
                _check_consistent(name, array, whole[name], budget)
            layers.append(name)
            yield f"layer/{name}", array

    _write_npz(output, entries())
    return Recording(output, tuple(layers), tuple(whole), described["keras_version"])


def _whole_model(walk: LayerWalk, model: Any, arrays: Sequence[FloatArray]) -> list[FloatArray]:
    try:
        return walk.call(model, arrays)
    except SegrtError:
        raise
    except Exception as error:  # a backend raises whatever it likes
        raise EngineError(
            f"Keras cannot run model {model.name!r} on these inputs",
            found=f"{type(error).__name__}: {error}"[:400],
            hint="check the inputs' shapes; TensorFlow has no channels_first convolutions for "
            "the CPU: record such a model on a GPU",
        ) from error


def _match_inputs(names: Sequence[str], inputs: Inputs) -> list[FloatArray]:
    if isinstance(inputs, Mapping):
        if set(inputs) != set(names):
            raise UsageError(
                "the inputs' names are not the model's",
                found=", ".join(sorted(inputs)),
                wanted=", ".join(names),
            )
        given = [inputs[name] for name in names]
    else:
        given = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
    if len(given) != len(names):
        raise UsageError(
            "the number of inputs is not the model's",
            found=str(len(given)),
            wanted=f"{len(names)}: {', '.join(names)}",
        )
    arrays = [np.ascontiguousarray(array, dtype=np.float32) for array in given]
    if len({array.shape[:1] for array in arrays}) > 1 or any(array.ndim < 2 for array in arrays):
        raise ShapeError(
            "inputs need one common batch size as their first axis",
            found=", ".join(str(array.shape) for array in arrays),
        )
    return arrays


def _check_consistent(
    name: str, candidate: FloatArray, reference: FloatArray, budget: float
) -> None:
    difference = float(np.linalg.norm(candidate.astype(np.float64) - reference))
    scale = float(np.linalg.norm(reference.astype(np.float64)))
    # Negated, so that NaN on one side only is caught; NaN on both sides is what Keras says.
    same_holes = np.array_equal(np.isfinite(candidate), np.isfinite(reference))
    if not (difference <= budget * scale or (np.isnan(difference) and same_holes)):
        raise VerificationError(
            f"output {name!r}: the layers run one by one disagree with the whole model",
            found=f"relative L2 {difference / scale if scale else difference:.3g}",
            wanted=f"at most {budget:g}",
        )


def _compute_dtype(layer: Any) -> str:
    return str(getattr(layer, "compute_dtype", None) or "float32")


def _write_npz(path: Path, entries: Iterator[tuple[str, npt.NDArray[Any]]]) -> None:
    """Write arrays one by one beside ``path`` and rename; at no time are two of them held."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in entries:
                # A fixed date makes the same recording the same bytes.
                info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
                info.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(info, "w", force_zip64=array.nbytes > 1 << 30) as stream:
                    np.lib.format.write_array(stream, array, allow_pickle=False)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
