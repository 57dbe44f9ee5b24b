"""Loads a Keras model file with real Keras, without ever running code from the file.

Which Keras matters: Keras 3 reads files of Keras 2, yet computes `hard_sigmoid` its own way. The
library is therefore chosen by the version written in the file.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py

from segrt._optional import is_installed, require
from segrt.errors import ModelFileError, RefusedError, UnavailableError, UnsafeFileError
from segrt.importers._yaml import is_yaml, parse_yaml

INSTALL = "pip install keras tensorflow"
# Keras imports the module a config names; only its own may be named.
_TRUSTED_MODULES = ("keras", "keras_core", "tf_keras", "tensorflow", "builtins")
_MAX_CONFIG_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class KerasFile:
    """What a model file says about itself, read without Keras.

    Attributes:
        path: The file.
        kind: ``h5`` for HDF5 content, ``archive`` for a zip; the suffix is not believed.
        keras_version: As written, "unknown" where it is not.
        config: The architecture's JSON text.
        weights_only: The architecture came from another file.
    """

    path: Path
    kind: str
    keras_version: str
    config: str
    weights_only: bool = False


def read_file(path: Path, architecture: Path | None = None) -> KerasFile:
    """Sniff a model file and read its description.

    Args:
        path: The model file.
        architecture: JSON of `model.to_json()`, for files that hold weights only.

    Raises:
        ModelFileError: It is missing, damaged, or neither HDF5 nor a Keras archive.
    """
    for given in (path, architecture):
        if given is not None and not given.is_file():
            raise ModelFileError(f"{given} is not a file", wanted="a .h5, .hdf5 or .keras file")
    try:
        if zipfile.is_zipfile(path):
            file = _read_archive(path)
        elif h5py.is_hdf5(path):
            file = _read_hdf5(path)
        else:
            raise ModelFileError(f"{path} is no Keras model file", wanted="HDF5 or a Keras archive")
        return file if architecture is None else _with_architecture(file, architecture)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ModelFileError(f"{path} cannot be read", found=str(error)) from error


def _read_hdf5(path: Path) -> KerasFile:
    with h5py.File(path, "r") as file:
        attributes = {key: file.attrs.get(key, "") for key in ("keras_version", "model_config")}
    version, config = (_text(value) for value in attributes.values())
    return KerasFile(path, "h5", version or "unknown", config)


def _with_architecture(file: KerasFile, architecture: Path) -> KerasFile:
    text = architecture.read_bytes()
    # Recording may run beside an old Keras, where no more than that is installed.
    described = parse_yaml(text, architecture.name) if is_yaml(text) else json.loads(text)
    config = json.dumps(described)
    # Keras 2 writes its version into the JSON, Keras 3 each class' module.
    version = "3" if "module" in described else str(described.get("keras_version", "unknown"))
    return replace(file, keras_version=version, config=config, weights_only=True)


def _read_archive(path: Path) -> KerasFile:
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo("config.json").file_size > _MAX_CONFIG_BYTES:
            raise UnsafeFileError(f"{path}: config.json is too large to be one")
        config = archive.read("config.json").decode("utf-8")
        metadata = json.loads(archive.read("metadata.json"))
    return KerasFile(path, "archive", str(metadata.get("keras_version", "unknown")), config)


def choose_keras(version: str) -> Any:
    """Import the Keras that fits a file written by Keras ``version``.

    Returns:
        The module ``keras``, ``tf_keras`` or ``tensorflow.keras``.

    Raises:
        UnavailableError: No Keras is installed, or only one too old for the file.
    """
    wants_keras_3 = version.startswith("3")
    if not wants_keras_3 and is_installed("tf_keras"):
        return require("tf_keras", purpose="recording", install="pip install tf_keras")
    if is_installed("keras"):
        keras = require("keras", purpose="recording", install=INSTALL)
    else:
        keras = require("tensorflow", purpose="recording", install=INSTALL).keras
    if wants_keras_3 and not keras_version(keras).startswith("3"):
        raise UnavailableError(
            "the file was written by Keras 3",
            found=f"Keras {keras_version(keras)}",
            hint="run: pip install 'keras>=3'",
        )
    return keras


def keras_version(keras: Any) -> str:
    """Return the version of a Keras module."""
    return str(keras.__version__)


def load_keras(
    file: KerasFile,
    keras: Any,
    *,
    allow_code: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
) -> Any:
    """Return the Keras model of a file, uncompiled.

    Args:
        file: From `read_file`.
        keras: From `choose_keras`.
        allow_code: Let Keras run Lambda code from the file; only for files you trust.
        custom_objects: Your own layer classes by name.

    Raises:
        UnsafeFileError: The file holds code or names foreign modules, and ``allow_code`` is off.
        ModelFileError: Keras cannot load it, or the architecture is missing.
    """
    if not file.config:
        raise ModelFileError(
            f"{file.path.name} holds weights only", hint="give the architecture's JSON file too"
        )
    custom_objects = _by_registered_name(file.config, custom_objects or {})
    if not allow_code:
        _refuse_code(file.path.name, file.config, custom_objects)
    try:
        if file.weights_only:
            return _load_weights(file, keras, custom_objects)
        with tempfile.TemporaryDirectory() as folder:
            # Keras believes the suffix, and 2.12 wrote HDF5 into `.keras` files.
            link = Path(folder) / ("model.h5" if file.kind == "h5" else "model.keras")
            link.symlink_to(file.path.resolve())
            return keras.models.load_model(
                link, custom_objects=custom_objects, compile=False, safe_mode=not allow_code
            )
    except (RefusedError, UnavailableError):
        raise
    except Exception as error:  # Keras raises whatever its layers raise
        raise ModelFileError(
            f"Keras {keras_version(keras)} cannot load {file.path.name}",
            found=f"{type(error).__name__}: {error}",
            hint=None
            if custom_objects
            else "name the Python file that defines layers of your own: --objects FILE.py "
            "(in Python: custom_objects)",
        ) from error


def _load_weights(file: KerasFile, keras: Any, custom_objects: Mapping[str, Any] | None) -> Any:
    model = keras.models.model_from_json(file.config, custom_objects=custom_objects)
    with h5py.File(file.path, "r") as content:
        legacy = "layer_names" in content.attrs or "layer_names0" in content.attrs
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / ("model.h5" if legacy else "model.weights.h5")
        link.symlink_to(file.path.resolve())
        model.load_weights(str(link))
    return model


def _by_registered_name(config: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user's classes under the names by which Keras looks them up in this file, too.

    A class found by its name is taken before the module that the file names is imported.
    """
    objects = dict(given)
    try:
        described = json.loads(config) if objects else {}
    except ValueError:
        return objects  # told by whoever reads it
    for item in _objects(described):
        registered = str(item.get("registered_name") or item.get("class_name"))
        plain = registered.rpartition(">")[2]
        if plain in given:
            objects.setdefault(registered, given[plain])
    return objects


def _refuse_code(file: str, config: str, own: Mapping[str, Any]) -> None:
    try:
        described = json.loads(config)
    except ValueError as error:
        raise ModelFileError(f"{file}: the model's config is no JSON", found=str(error)) from error
    for item in _objects(described):
        class_name, module = item.get("class_name"), item.get("module")
        if class_name in ("Lambda", "__lambda__"):
            name = _layer_name(item)
            raise UnsafeFileError(
                f"{file} holds Lambda code{name}",
                hint="if you trust the file, allow its code explicitly: --allow-code",
            )
        root = module.split(".")[0] if isinstance(module, str) and class_name else "keras"
        if str(item.get("registered_name") or class_name) in own:
            continue
        function = root == "builtins" and class_name != "function"
        # A custom class is found by its registered name; Keras still would import its module.
        if root not in _TRUSTED_MODULES or function:
            raise UnsafeFileError(
                f"{file} names the foreign module {module!r} for {class_name!r}",
                hint="name the Python file that defines it (--objects FILE.py); or, if you trust "
                "the model file, allow its code explicitly (--allow-code)",
            )


def _layer_name(item: Mapping[str, Any]) -> str:
    config = item.get("config")
    name = config.get("name") if isinstance(config, Mapping) else None
    return f" in layer {name!r}" if name else ""


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every JSON object that names a class, without recursion: depth is the file's say."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            if "class_name" in item:
                yield item
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


def _text(value: object) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
