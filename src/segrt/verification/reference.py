"""What a package is compared with: a recording, Keras itself, or the graph before any pass."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy.typing as npt
import onnx_ir as ir

from segrt._optional import is_installed
from segrt.errors import ModelFileError, UnavailableError, UsageError
from segrt.graph import metadata
from segrt.graph.ends import read_ends
from segrt.verification._inner import DEFAULT_BUDGET_BYTES, InnerValues, Opener, value_bytes
from segrt.verification._ort import open_plain
from segrt.verification.candidate import Locations, locate, to_source
from segrt.verification.recording import Recording, is_recording

Array: TypeAlias = npt.NDArray[Any]


# Half a unit in the last place, relative: what one rounding of a layer's results costs at most.
_ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8}


class Reference(Protocol):
    """What a network ought to compute. Arrays are in the source's layout, batch first.

    Attributes:
        kind: What it is, for people; part of every report.
        meta: What is known about where it came from.
        loose: Names of layers whose values it knows but cannot give image by image.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102

    @property
    def meta(self) -> Mapping[str, Any]: ...  # noqa: D102

    @property
    def loose(self) -> tuple[str, ...]: ...  # noqa: D102

    def names(self) -> tuple[str, ...]:
        """Return the names of the Keras values it knows, in the order they are computed."""
        ...

    def outputs(self) -> tuple[str, ...]:
        """Return the names of the network's outputs."""
        ...

    def inputs(self) -> dict[str, Array]:
        """Return what the network was fed with."""
        ...

    def get(self, name: str, rows: slice = ...) -> Array:
        """Return images ``rows`` of one value."""
        ...

    def fetch(self, names: Collection[str], rows: slice) -> Iterator[tuple[str, Array]]:
        """Yield images ``rows`` of several values, holding a bounded number of bytes."""
        ...

    def fetch_outputs(self, rows: slice) -> Iterator[tuple[str, Array]]:
        """Yield images ``rows`` of the outputs, one at a time."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class ImportedGraph:
    """The imported fp32 graph, before any pass, on ONNX Runtime without optimisation.

    Args:
        model: The imported graph.
        inputs: What to feed it with, by input name.
        budget_bytes: The most bytes of inner values held at a time.
        opener: What runs it; ONNX Runtime by default.
    """

    def __init__(
        self,
        model: ir.Model,
        inputs: Mapping[str, Array],
        *,
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
        opener: Opener = open_plain,
    ) -> None:
        self.loose: tuple[str, ...] = ()
        self._inputs = dict(inputs)
        self._inner = InnerValues(model, opener, budget_bytes)
        self._locations: Locations = locate(model)
        self._outputs = tuple(str(value.name) for value in model.graph.outputs)
        self._shapes = {name: array.shape for name, array in inputs.items()}
        self._model = model
        self._sizes: dict[int, dict[str, int | None]] = {}
        source = metadata.source(model)
        self.meta: Mapping[str, Any] = (
            {} if source is None else {"source_sha256": source.sha256, "source_file": source.file}
        )

    @property
    def kind(self) -> str:
        """What the reference is, for people."""
        return "the imported graph before any pass, on ONNX Runtime (not Keras itself)"

    def names(self) -> tuple[str, ...]:
        """Return the names of all Keras values but the inputs."""
        return tuple(
            name for name, place in self._locations.found.items() if place.value not in self._inputs
        )

    def outputs(self) -> tuple[str, ...]:
        """Return the names of the graph's outputs."""
        return self._outputs

    def inputs(self) -> dict[str, Array]:
        """Return what the graph is fed with."""
        return self._inputs

    def get(self, name: str, rows: slice = slice(None)) -> Array:
        """Return one value."""
        return dict(self.fetch([name], rows))[name]

    def fetch(self, names: Collection[str], rows: slice) -> Iterator[tuple[str, Array]]:
        """Yield several values, in the graph's order, a bounded number of bytes at a time."""
        wanted = set(names)
        places = [place for name, place in self._locations.found.items() if name in wanted]
        by_value = {place.value: place for place in places}
        for group in self._inner.groups(by_value, self._bytes(rows)):
            values = self._inner.fetch(group, self._feeds(rows))
            for value in group:
                place = by_value[value]
                yield place.keras, to_source(values.pop(value), place.to_source)

    def fetch_outputs(self, rows: slice) -> Iterator[tuple[str, Array]]:
        """Yield the outputs."""
        for group in self._inner.groups(self._outputs, self._bytes(rows)):
            yield from self._inner.fetch(group, self._feeds(rows)).items()

    def close(self) -> None:
        """Free the session."""
        self._inner.close()

    def _feeds(self, rows: slice) -> dict[str, Array]:
        return {name: array[rows] for name, array in self._inputs.items()}

    def _bytes(self, rows: slice) -> dict[str, int | None]:
        shapes = {name: array.shape for name, array in self._feeds(rows).items()}
        count = next(iter(shapes.values()))[0] if shapes else 0
        if count not in self._sizes:
            self._sizes[count] = value_bytes(self._model, shapes)
        return self._sizes[count]


@dataclass(frozen=True, slots=True)
class KerasOptions:
    """How Keras is to load a model file.

    Attributes:
        architecture: JSON description, for a file that holds weights only.
        custom_objects: Layer classes of the user's own by name.
        allow_code: Let Keras run Lambda code from the file.
    """

    architecture: Path | None = None
    custom_objects: Mapping[str, Any] = field(default_factory=dict)
    allow_code: bool = False


class KerasModel(Recording):
    """Keras itself: the model file is run by the Keras that is installed, into a temporary file.

    Args:
        path: The Keras model file.
        inputs: What to feed it with, by input name.
        options: How Keras is to load it.

    Raises:
        UnavailableError: No Keras that fits is installed.
        ModelFileError: Keras cannot load the file.
    """

    def __init__(
        self, path: Path, inputs: Mapping[str, Array], options: KerasOptions | None = None
    ) -> None:
        import segrt.verification.record as recorder

        self._folder = tempfile.TemporaryDirectory(prefix="segrt-verify-")
        try:
            target = Path(self._folder.name) / "reference.npz"
            options = options or KerasOptions()
            recorder.record(
                path,
                dict(inputs),
                target,
                architecture=options.architecture,
                allow_code=options.allow_code,
                custom_objects=options.custom_objects,
            )
            super().__init__(target)
        except BaseException:
            self._folder.cleanup()
            raise
        self._model_name = path.name

    @property
    def kind(self) -> str:
        """What the reference is, for people."""
        version = self.meta.get("keras_version", "of unknown version")
        return f"Keras {version}, run here on {self._model_name}"

    def close(self) -> None:
        """Remove the temporary recording."""
        super().close()
        self._folder.cleanup()


def choose_reference(
    against: Path | None,
    imported: ir.Model,
    inputs: Mapping[str, Array],
    *,
    inputs_given: bool,
    keras: KerasOptions | None = None,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> tuple[Reference, list[str]]:
    """Return the reference for ``against``, and remarks about the choice.

    Args:
        against: A recording, a Keras model file, or None for the imported graph.
        imported: The package's graph before any pass.
        inputs: What to feed a reference with that brings no inputs of its own.
        inputs_given: Whether the user chose those inputs.
        keras: How Keras is to load a Keras file.
        budget_bytes: The most bytes of inner values held at a time.

    Raises:
        UsageError: The file does not exist, or inputs were given besides a recording.
        RecordingError: The recording is damaged.
        ModelFileError: The model file is not the one the package was built from, and no Keras is
            installed that could run it.
    """
    graph = ImportedGraph(imported, inputs, budget_bytes=budget_bytes)
    if against is None:
        return graph, []
    if not against.is_file():
        raise UsageError(f"{against} is no file", wanted="a recording (.npz) or a Keras model file")
    if against.suffix == ".npz" or is_recording(against):
        if inputs_given:
            raise UsageError(
                f"{against.name} brings its own inputs", hint="leave the other images out"
            )
        recording = Recording(against)
        return recording, [*_source_remarks(recording.meta, graph.meta), *_left_out(recording)]
    if not (is_installed("keras") or is_installed("tensorflow")):
        return graph, [_stand_in(against, graph.meta, "Keras is not installed")]
    try:
        values = read_ends(imported).values(inputs)
        return KerasModel(against, values, keras), []
    except UnavailableError as error:
        return graph, [_stand_in(against, graph.meta, error.message)]


def _stand_in(path: Path, meta: Mapping[str, Any], why: str) -> str:
    """Return the remark that the graph stands in for Keras; only for the file it came from."""
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    wanted = meta.get("source_sha256")
    if found != wanted:
        raise ModelFileError(
            f"{path.name} is not the file this package was built from, and Keras cannot run it",
            found=f"sha256 {found}; {why}",
            wanted=f"sha256 {wanted} ({meta.get('source_file')})",
            hint="install Keras, or compare with a recording: segrt record MODEL -o ref.npz",
        )
    return f"{why}: the graph imported from {path.name} (same sha256) stands in for it"


def _left_out(recording: Recording) -> list[str]:
    if not recording.loose:
        return []
    names = ", ".join(recording.loose)
    return [f"recorded values that are no batches of images are not compared: {names}"]


def _source_remarks(recorded: Mapping[str, Any], built: Mapping[str, Any]) -> list[str]:
    remarks = []
    if recorded.get("source_sha256") != built.get("source_sha256"):
        remarks.append("the recording was made from another file than the package")
    types = recorded.get("compute_dtypes")
    coarse = [str(name) for name in types if name != "float32"] if isinstance(types, list) else []
    if coarse:
        rounding = max(_ROUNDING.get(name, 0.0) for name in coarse)
        size = f" of up to about {rounding:.3g} a layer" if rounding else ""
        remarks.append(
            f"Keras computed in {', '.join(coarse)} when it was recorded: its rounding{size} "
            "shows as error of the package, which may be nearer to the trained network than the "
            "recording is; record a copy of the model with dtype float32 to judge the package"
        )
    return remarks
