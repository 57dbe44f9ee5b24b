"""From a network to an engine's plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from segrt.errors import UsageError
from segrt.graph.size_multiple import needed_multiple
from segrt.graph.specs import input_specs
from segrt.targets._session import describe_shape
from segrt.targets.trt.engine_layers import EngineLayer, read_engine_layers
from segrt.targets.trt.logger import engine_error
from segrt.targets.trt.network import Network
from segrt.types import Precision


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


def build_engine(network: Network, precision: Precision) -> Engine:
    """Build a network.

    Where all sizes are fixed, the plan is the same to the byte each time. With free sizes it is
    not: the library then numbers sizes in the order of their addresses.

    Args:
        network: As `write_network` or `parse_network` made it; its inputs say what their free
            sizes are limited to.
        precision: tf32 lets fp32 products be rounded to TF32.

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
    profile = _profile(network)
    if profile is not None and config.add_optimization_profile(profile) < 0:
        raise engine_error("the ranges of sizes", network.log.errors())
    network.log.check("the build's settings")
    plan = network.builder.build_serialized_network(network.definition, config)
    if plan is None:
        raise engine_error("the network", network.log.errors())
    network.log.check("the network, though it built it")
    layers = tuple(read_engine_layers(network.log))
    return Engine(bytes(plan), layers, tuple(network.log.warnings()))


def check_sizes(model: ir.Model) -> None:
    """Refuse a graph with inputs whose sizes are free and not limited to a range.

    Raises:
        UsageError: Names the input and, if one is needed, the multiple.
    """
    for spec in input_specs(model):
        limited = spec.ranges or (None,) * len(spec.shape)
        if any(size is None and r is None for size, r in zip(spec.shape, limited, strict=True)):
            multiple = needed_multiple(model)
            raise UsageError(
                f"a TensorRT engine needs a fixed image size, or a range of sizes, and input "
                f"{spec.name!r} has none",
                found=describe_shape(spec),
                wanted=f"sizes that are multiples of {multiple}" if multiple else None,
                hint="fix it, --size HEIGHTxWIDTH (of a volume, DEPTHxHEIGHTxWIDTH), or give a "
                "range, --size SMALLEST:USUAL:LARGEST",
            )


def _profile(network: Network) -> Any:
    """Return the ranges of free sizes, None where all is fixed.

    Raises:
        UsageError: A size is free without a range.
    """
    if all(None not in spec.shape for spec in network.inputs):
        return None
    profile = network.builder.create_optimization_profile()
    for spec in network.inputs:
        limited = spec.ranges or (None,) * len(spec.shape)
        sizes = [
            (size, size, size) if size is not None else r and (r.minimum, r.usual, r.maximum)
            for size, r in zip(spec.shape, limited, strict=True)
        ]
        if None in sizes:
            raise UsageError(
                f"free sizes of input {spec.name!r} need a range",
                found=describe_shape(spec),
                hint="fix them, or give ranges: --batch 1:4:16 --size 128:256:512",
            )
        profile.set_shape(spec.name, *zip(*(entry for entry in sizes if entry), strict=True))
    return profile
