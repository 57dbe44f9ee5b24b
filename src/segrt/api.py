"""The public functions: the one place that chains importers, passes, targets and the rest.

Composition only. Each function takes and returns the values of the stages: a file becomes an
``onnx_ir.Model`` (`load`), a model a `Package` (`build`), a package a `Session` (`open_session`).
Heavy libraries are imported when a function needs them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy.typing as npt

from segrt._outputs import check_output
from segrt.errors import UsageError
from segrt.types import (
    BuildOptions,
    LayerSource,
    LoadOptions,
    Precision,
    Preprocess,
    Size,
    Verdict,
)

if TYPE_CHECKING:
    import onnx_ir as ir

    from segrt.checks._base import CheckReport
    from segrt.importers._weight_listing import WeightListing
    from segrt.passes.upsampling._base import SitePlan
    from segrt.prediction.options import PredictOptions
    from segrt.prediction.predictor import Progress
    from segrt.prediction.report import PredictReport
    from segrt.targets._base import Session
    from segrt.targets._package import Package
    from segrt.verification.record import Recording
    from segrt.verification.report import Report
    from segrt.verification.verifier import VerifyOptions

StrPath: TypeAlias = str | os.PathLike[str]
Images: TypeAlias = StrPath | Iterable[StrPath]
OwnLayers: TypeAlias = Mapping[str, LayerSource] | Iterable[StrPath]
Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]


def load(
    path: StrPath,
    *,
    architecture: StrPath | None = None,
    layers: OwnLayers | None = None,
    lambdas: OwnLayers | None = None,
    outputs: Iterable[str] = (),
    inputs: Iterable[str] = (),
) -> ir.Model:
    """Read a trained model; Keras files and ONNX without Keras or TensorFlow.

    Args:
        path: A full-model HDF5 (``.h5``), a ``.keras`` archive, a file of weights, an ``.onnx``
            file; with TensorFlow installed, a SavedModel folder or a frozen graph (``.pb``).
        architecture: What ``model.to_json()`` or ``to_yaml()`` returned, for files of weights only.
        layers: Your converters by class name (docs/guides/own_layers.md).
        lambdas: What Lambda layers compute, by name or pattern (docs/reference/lambda_forms.md).
        outputs: Tensors that a frozen graph returns (``name:0``).
        inputs: Tensors that it takes; none given: all its placeholders.

    Returns:
        The graph: NCHW inside, the source's layout, names and dtypes at inputs and outputs; every
        Keras layer's output is a value under the layer's name. Nothing is rewritten yet.

    Raises:
        ModelFileError: The file is missing, damaged or of no known format.
        UnsupportedLayerError: Layers without a converter; all of them are listed.
        UnsupportedConfigError: A layer's settings cannot be converted exactly.
        UsageError: The architecture or outputs are missing or superfluous; a converter is unused.
        ConverterError: A converter of yours fails.
        UnavailableError: A TensorFlow format, and TensorFlow or tf2onnx is not installed.
    """
    from segrt.importers._base import import_model
    from segrt.importers._own_sources import own_sources

    described = None if architecture is None else Path(architecture)
    own = own_sources(layers, "layer"), own_sources(lambdas, "lambda")
    return import_model(Path(path), LoadOptions(described, *own, tuple(outputs), tuple(inputs)))


def lower(
    model: ir.Model, *, target: str = "cpu", upsampling: str | None = None
) -> tuple[ir.Model, tuple[Verdict, ...]]:
    """Rewrite a graph for a target; every rewrite is proven where it is made.

    Args:
        model: As `load` returned it; not changed.
        target: Whose preferences to follow.
        upsampling: The form to use wherever it is exact; None lets the target's preference decide.

    Returns:
        The rewritten graph, and what was done and refused, with certificates.

    Raises:
        UsageError: Unknown target or form.
        PassError: A rewrite broke the graph.
    """
    from segrt.passes._pipeline import lower as run_passes

    return run_passes(model, _contexts(model, target, BuildOptions(upsampling=upsampling))[0])


def plan_upsampling(
    model: ir.Model, *, target: str = "cpu", upsampling: str | None = None
) -> list[SitePlan]:
    """Say for every upsampling layer which forms are exact, which is chosen, and why.

    Args:
        model: As `load` returned it; not changed.
        target: Whose preferences to follow.
        upsampling: The form to use wherever it is exact.

    Raises:
        UsageError: Unknown target or form.
    """
    from segrt.passes._pipeline import plan

    return plan(model, _contexts(model, target, BuildOptions(upsampling=upsampling))[0])


def check(
    model: ir.Model | StrPath,
    *,
    target: str,
    gpu: str | None = None,
) -> CheckReport:
    """Say of every Keras layer whether a target runs it, without a GPU and without TensorRT.

    Args:
        model: A graph as `load` returned it, or a model file.
        target: ``tensorrt:8.6``, ``rtx:1.7``, ``jetpack:6.2``, ``cuda`` or a CPU target.
        gpu: Ask about this compute capability too, such as ``8.6``.

    Raises:
        UsageError: An unknown target, version or GPU; it lists those known.
        SegrtError: As `load`.
    """
    from segrt.checks._check import check_model

    return check_model(_graph(model), target, gpu)


def list_weights(path: StrPath) -> WeightListing:
    """List groups, arrays, shapes, types and axes as they lie in a file, whatever its layers.

    Args:
        path: An ``.h5``, ``.keras`` or ``.weights.h5`` file.

    Raises:
        ModelFileError: The file is missing, damaged or of another format.
    """
    from segrt.importers._weight_listing import list_weights as read

    return read(Path(path))


def convert(model: ir.Model | StrPath, output: StrPath, *, optimize: bool = False) -> ir.Model:
    """Write a model as ONNX (opset 18), or its weights alone in TensorRT's order.

    Args:
        model: A graph as `load` returned it, or a model file.
        output: The file to write. ``.safetensors``, ``.h5`` and ``.hdf5``: the weights alone, as
            `segrt.graph.export_weights` says. ``.onnx``, or a name that is no other format's: ONNX.
        optimize: Write the graph after the passes (with resize kept where it is exact) instead of
            the one before any rewrite.

    Returns:
        The graph that was written.

    Raises:
        SegrtError: As `load` and `lower`; UsageError if the file cannot be written, or is
            ``model``.
    """
    from segrt.graph import export_weights
    from segrt.graph.store import save_graph
    from segrt.passes._base import PassContext
    from segrt.passes._pipeline import lower as run_passes

    check_output(Path(output), Path(model) if isinstance(model, str | os.PathLike) else None)
    only_weights = Path(output).suffix.lower() in export_weights.SUFFIXES
    if only_weights and optimize:
        raise UsageError(
            "weights are written as they were trained", found="optimize", hint="leave it out"
        )
    graph = _graph(model)
    if only_weights:
        export_weights.export_weights(graph, Path(output))
        return graph
    if optimize:
        graph, _ = run_passes(graph, PassContext())
    save_graph(graph, Path(output))
    return graph


def build(
    model: ir.Model | StrPath,
    *,
    target: str = "cpu",
    output: StrPath | None = None,
    precision: Precision | str = Precision.FP32,
    threads: int | None = None,
    batch: Size | None = None,
    size: tuple[Size, ...] | None = None,
    upsampling: str | None = None,
    via: str | None = None,
    input: str | None = None,  # noqa: A002 - the word of the command line and the manifest
    head: str | None = None,
    preprocess: Preprocess | None = None,
    fallback: str | None = None,
) -> Package:
    """Build a deployable package.

    Args:
        model: A graph as `load` returned it, or a model file.
        target: ``cpu`` (the faster of the two here), ``onnxruntime``, ``openvino``, ``cuda``,
            ``tensorrt-rtx`` or ``tensorrt``.
        output: The package directory to write; None makes one among the temporary files.
        precision: The type the engine computes in; which there are depends on the target.
        threads: Threads of the engine; None leaves it to the library.
        batch: Fixed batch size, or a `ShapeProfile`: the range it is chosen from at each run.
            None keeps it free, where the target can.
        size: Fixed (height, width), or `ShapeProfile`s; None keeps what the model says.
        upsampling: The form to use wherever it is exact; None lets the target choose.
        via: How TensorRT gets the graph: ``network`` (layer by layer, None) or ``onnx-parser``.
        input: ``uint8``: take pixels, and prepare them inside the engine. None: floats, prepared.
        head: ``mask`` (or ``mask:0.35``, for another threshold than 0.5): put out uint8 masks.
        preprocess: How pixels become network input; None: divide by 255, or leave them as they
            are where the network itself rescales.
        fallback: The target that runs what ``target`` refuses; None: nothing may be refused.

    Raises:
        UsageError: Options that are unknown, contradict each other or do not fit the network.
        ShapeError: The network cannot take the batch or size, or a size of their ranges.
        UnavailableError: The target's library or instructions are missing here.
        EngineError, UnsupportedLayerError: The engine refuses the graph, or layers of it.
    """
    from segrt.graph.specs import input_specs
    from segrt.passes._base import PassContext
    from segrt.passes._pipeline import lower as run_passes
    from segrt.prediction.preprocess import settle_preprocess
    from segrt.targets._base import Lowering
    from segrt.targets._build import build_package

    graph = _graph(model)
    options = BuildOptions(
        precision=_precision(precision),
        threads=threads,
        batch=batch,
        size=size,
        upsampling=upsampling,
        via=via,
        input=input,
        head=head,
        preprocess=settle_preprocess(preprocess, graph, input_specs(graph)),
        fallback=fallback,
    )

    def lower_for(each: ir.Model, wanted: Lowering) -> tuple[ir.Model, tuple[Verdict, ...]]:
        return run_passes(
            each, PassContext(wanted.upsampling_forms, upsampling, wanted.extra_passes)
        )

    return build_package(graph, options, target, output, lower_for)


def open_session(
    package: Package | StrPath,
    *,
    threads: int | None = None,
    selftest: bool = False,
    device: int | None = None,
) -> Session:
    """Open a session on a package; its files are checked against the manifest first.

    Args:
        package: The package or its directory.
        threads: Threads of the engine; None takes what the package was built with.
        selftest: Run the package's own input first and compare with the recorded output.
        device: The GPU to open it on; None: the first, or that of `on_device` around the call.

    Raises:
        PackageError: The package is damaged or was changed.
        UnavailableError, UsageError: Library, instructions or device are missing; none is used.
        EngineError: The engine fails, or the self-test does.
    """
    from segrt.targets._on_device import open_on

    return open_on(device, package, threads=threads, selftest=selftest)


def verify(
    package: Package | StrPath,
    *,
    against: StrPath | None = None,
    images: Images | None = None,
    inputs: Arrays | None = None,
    threads: int | None = None,
    network: bool = False,
    options: VerifyOptions | None = None,
) -> Report:
    """Compare a package with its source, layer by layer.

    Args:
        package: The package or its directory.
        against: A recording (``.npz``), the Keras model file, or None for the graph as it was
            imported, before any pass.
        images: Image files or folders to feed the reference with; a recording brings its own.
        inputs: Arrays by input name instead of images, in the source's layout.
        threads: Threads of the engine; None takes what the package was built with.
        network: Judge the TensorRT network, read back and run on a CPU, not the engine.
        options: Tolerances, threshold, memory budget.

    Returns:
        The report; ``report.ok`` says whether everything holds.

    Raises:
        UsageError: Images and inputs at once, or a reference that does not fit.
        ModelFileError: The reference is damaged or not the package's source.
        PackageError: The package is damaged or was changed.
    """
    from segrt.prediction.find_images import find_images
    from segrt.prediction.sample import sample_inputs
    from segrt.targets._package import load_package
    from segrt.verification.subject import network_subject, package_subject
    from segrt.verification.verifier import verify_package

    if images is not None and inputs is not None:
        raise UsageError("give images or inputs, not both")
    if images is not None:
        checked = load_package(_path(package))
        found = find_images(_paths(images))
        inputs = sample_inputs(checked.imported(), checked.manifest.preprocess, found)
    path = _path(package)
    return verify_package(
        network_subject(path) if network else package_subject(path, threads=threads),
        against=None if against is None else Path(against),
        inputs=inputs,
        options=options,
    )


def predict(
    package: Package | StrPath,
    images: Images,
    output: StrPath,
    *,
    threads: int | None = None,
    options: PredictOptions | None = None,
    progress: Progress | None = None,
) -> PredictReport:
    """Write the masks of images, and pictures if asked for.

    Args:
        package: The package or its directory.
        images: Image files or folders.
        output: Folder for the results; made if missing.
        threads: Threads of the engine; None takes what the package was built with.
        options: Tiles, overlap, threshold, what to save. The sizes the network can take and
            whether it puts out probabilities, logits or masks are found from the graph.
        progress: Called with (finished, all, result) after each image.

    Returns:
        One result an image; a failed one carries its error, the others are finished.

    Raises:
        UsageError: No images, options that do not fit, a network that takes no images.
        PackageError: The package is damaged or was changed.
    """
    from segrt.prediction.deduce import deduce
    from segrt.prediction.find_images import find_images
    from segrt.prediction.options import PredictOptions
    from segrt.prediction.predictor import predict_files
    from segrt.targets._package import load_package

    found = find_images(_paths(images))
    checked = load_package(_path(package))
    options = deduce(checked.imported(), options or PredictOptions())
    with open_session(checked, threads=threads) as session:
        return predict_files(
            session,
            checked.manifest.preprocess,
            found,
            Path(output),
            options=options,
            progress=progress,
        )


def record(
    model: StrPath,
    *,
    output: StrPath,
    images: Images | None = None,
    inputs: Arrays | None = None,
    architecture: StrPath | None = None,
    preprocess: Preprocess | None = None,
    allow_code: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
) -> Recording:
    """Run a model with the installed Keras and write what every layer says.

    Args:
        model: A Keras model file.
        output: The ``.npz`` to write.
        images: Image files or folders; one tile from the middle of each of the first eight.
        inputs: Arrays by input name instead of images, in the model's own layout.
        architecture: See `load`.
        preprocess: How pixels become network input; see `build`.
        allow_code: Let Keras run Lambda code from the file; only for files you trust.
        custom_objects: Keras classes of your own by name.

    Raises:
        UnavailableError: No fitting Keras is installed.
        UsageError: Neither images nor inputs, or both; ``output`` is the model.
        SegrtError: The file cannot be loaded, or the inputs do not fit.
    """
    from segrt.prediction.sample import sample_for
    from segrt.verification.record import record as run

    if (images is None) == (inputs is None):
        raise UsageError("give either images or inputs")
    path = None if architecture is None else Path(architecture)
    check_output(Path(output), Path(model), path)
    if images is not None:
        inputs = sample_for(Path(model), path, preprocess or Preprocess(), _paths(images))
    code: dict[str, Any] = {"allow_code": allow_code, "custom_objects": custom_objects}
    return run(model, inputs or {}, output, architecture=path, **code)


def _graph(model: ir.Model | StrPath) -> ir.Model:
    return load(model) if isinstance(model, str | os.PathLike) else model


def _contexts(model: ir.Model, target: str, options: BuildOptions) -> list[Any]:
    """Return what the passes are told for each lowering a target wants, its favourite first."""
    from segrt.passes._base import PassContext
    from segrt.targets._build import find_target

    return [
        PassContext(wanted.upsampling_forms, options.upsampling, wanted.extra_passes)
        for wanted in find_target(target).lowerings(model, options)
    ]


def _precision(value: Precision | str) -> Precision:
    try:
        return Precision(value)
    except ValueError:
        raise UsageError(f"unknown precision {str(value)!r}", wanted=", ".join(Precision)) from None


def _path(package: Package | StrPath) -> Path:
    return Path(package) if isinstance(package, str | os.PathLike) else package.path


def _paths(images: Images) -> list[Path]:
    if isinstance(images, str | os.PathLike):
        return [Path(images)]
    return [Path(image) for image in images]


__all__ = [
    "build", "convert", "load", "lower", "open_session", "plan_upsampling", "predict", "record",
    "verify",
]  # fmt: skip
