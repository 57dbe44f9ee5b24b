"""From a network to an engine's plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from segrt.errors import UsageError
from segrt.graph.size_multiple import needed_multiple
from segrt.targets.trt.engine_layers import EngineLayer, read_engine_layers
from segrt.targets.trt.logger import engine_error
from segrt.targets.trt.network import Network, shapes
from segrt.types import Precision, ShapeProfile

_FREE = -1


@dataclass(frozen=True, slots=True)
class Engine:
    """A built engine.

    Attributes:
        plan: What the runtime loads; the same bytes for the same network and library.
        layers: Its kernels.
        warnings: What TensorRT remarked while building.
    """

    plan: bytes
    layers: tuple[EngineLayer, ...]
    warnings: tuple[str, ...]


def build_engine(
    network: Network, precision: Precision, batch: ShapeProfile | None = None
) -> Engine:
    """Build a network.

    Where all sizes are fixed, the plan is the same to the byte each time. With a free batch it is
    not: the library then numbers sizes in the order of their addresses.

    Args:
        network: As `write_network` or `parse_network` made it.
        precision: tf32 lets fp32 products be rounded to TF32.
        batch: The range of a free batch.

    Raises:
        UsageError: A size is free without a range.
        EngineError: TensorRT refuses it; the message names the layers TensorRT named.
    """
    library = network.library
    network.log.activate()
    config = network.builder.create_builder_config()
    # Prints the table of layers, and lets an inspector see it later.
    config.profiling_verbosity = library.ProfilingVerbosity.DETAILED
    if precision is not Precision.TF32:
        # On by default: fp32 means fp32 here.
        config.clear_flag(library.BuilderFlag.TF32)
    profile = _profile(network, batch)
    if profile is not None and config.add_optimization_profile(profile) < 0:
        raise engine_error("the range of batch sizes", network.log.errors())
    network.log.check("the build's settings")
    plan = network.builder.build_serialized_network(network.definition, config)
    if plan is None:
        raise engine_error("the network", network.log.errors())
    network.log.check("the network, though it built it")
    layers = tuple(read_engine_layers(network.log))
    return Engine(bytes(plan), layers, tuple(network.log.warnings()))


def check_sizes(model: ir.Model) -> None:
    """Refuse a graph with inputs whose sizes, but for the batch, are free.

    Raises:
        UsageError: Names the input and, if one is needed, the multiple.
    """
    for name, sizes in shapes(model.graph.inputs).items():
        if _FREE in sizes[1:]:
            multiple = needed_multiple(model)
            raise UsageError(
                f"a TensorRT engine needs a fixed image size, and input {name!r} has none",
                found=str(tuple(size if size != _FREE else "free" for size in sizes)),
                wanted=f"sizes that are multiples of {multiple}" if multiple else None,
                hint="fix it: --size HEIGHTxWIDTH",
            )


def _profile(network: Network, batch: ShapeProfile | None) -> Any:
    """Return a range for a free batch, None where all is fixed."""
    definition = network.definition
    inputs = [definition.get_input(index) for index in range(definition.num_inputs)]
    if not any(_FREE in tuple(tensor.shape) for tensor in inputs):
        return None
    if batch is None:
        raise UsageError("a free batch needs a range of sizes", hint="fix it: --batch 1")
    profile = network.builder.create_optimization_profile()
    for tensor in inputs:
        ranges = [
            [size if size != _FREE else count for size in tensor.shape]
            for count in (batch.minimum, batch.usual, batch.maximum)
        ]
        profile.set_shape(tensor.name, *ranges)
    return profile
