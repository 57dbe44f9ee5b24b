"""The second route: the graph goes through TensorRT's own ONNX parser.

The parser can end the process on operators that it takes for plugins. So only operators of ONNX'
own domain are let through, and a child process parses first: if that dies, an error says so.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import onnx
import onnx_ir as ir

from segrt.errors import EngineError, UnsupportedLayerError, UsageError
from segrt.graph import metadata
from segrt.graph.builder import OPSET
from segrt.targets._engine import serialize
from segrt.targets.trt._flavour import Flavour
from segrt.targets.trt.half import to_half
from segrt.targets.trt.logger import Log
from segrt.targets.trt.network import Network, empty_network
from segrt.types import Precision

# ONNX' defaults, as single precision holds them.
SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875
PRECISIONS = (Precision.FP32, Precision.TF32, Precision.FP16)
_TRIAL_SECONDS = 120
# The child imports the library alone, so that nothing of ours can be what fails.
_TRIAL = """
import importlib, sys
trt = importlib.import_module(sys.argv[1])
log = trt.Logger(trt.Logger.ERROR)
network = trt.Builder(log).create_network(0)
parser = trt.OnnxParser(network, log)
sys.exit(0 if parser.parse(sys.stdin.buffer.read()) else 10)
"""
_REFUSED = 10


def parse_network(flavour: Flavour, model: ir.Model, precision: Precision) -> Network:
    """Give a graph to TensorRT's parser.

    Args:
        flavour: TensorRT or TensorRT for RTX.
        model: As a lowering made it.
        precision: fp32, tf32 or fp16; the parser takes types as the graph has them.

    Raises:
        UnsupportedLayerError: Nodes the parser does not take; all are listed.
        UsageError: A precision that this route does not have.
        EngineError: The parser fails, or would end the process.
    """
    check_precision(precision)
    _check_domains(model)
    data = prepared(model, precision)
    network = empty_network(flavour, model)
    in_child(flavour, data, _TRIAL)
    parser = network.library.OnnxParser(network.definition, network.log.sink)
    # Weights are the parser's: both have to live as long as the network.
    network.keep += [parser, data]
    if not parser.parse(data):
        raise _refusal(parser, model, network.log)
    network.log.check("the parsed network")
    _check_interface(network.definition, model)
    return network


def check_precision(precision: Precision) -> None:
    """Refuse a precision that this route does not have.

    Raises:
        UsageError: Names those it has.
    """
    if precision not in PRECISIONS:
        raise UsageError(
            f"the ONNX parser's route has no {precision}",
            found=precision,
            wanted=", ".join(PRECISIONS),
            hint="use --via network",
        )


def prepared(model: ir.Model, precision: Precision) -> bytes:
    """Return the file that the parser is given.

    Raises:
        EngineError: A weight is too large for the precision.
    """
    given = _with_defaults(model)
    return serialize(to_half(given) if precision is Precision.FP16 else given)


def _with_defaults(model: ir.Model) -> ir.Model:
    """Return a copy that spells out what the parser takes otherwise where nothing is said.

    Its own SELU has five digits, and its Trilu keeps the lower triangle.
    """
    spelled = model.clone()
    for node in spelled.graph:
        if node.op_type == "Selu":
            for name, default in (("alpha", SELU_ALPHA), ("gamma", SELU_GAMMA)):
                value = node.attributes.get_float(name, default)
                node.attributes[name] = ir.AttrFloat32(name, value)
        if node.op_type == "Trilu":
            node.attributes["upper"] = ir.AttrInt64("upper", node.attributes.get_int("upper", 1))
    return spelled


def domain_refusal(node: ir.Node) -> str | None:
    """Say why an operator may not be shown to the parser; None if it may."""
    if node.domain in ("", "ai.onnx") and onnx.defs.has(node.op_type, OPSET):
        return None
    return "not an operator of ONNX' own"


def _check_domains(model: ir.Model) -> None:
    unknown = [
        (metadata.layer_of(node) or str(node.name), node.op_type)
        for node in model.graph
        if domain_refusal(node) is not None
    ]
    if unknown:
        rows = "".join(f"\n  {layer}: {kind}" for layer, kind in unknown)
        raise UnsupportedLayerError(f"{len(unknown)} nodes are not ONNX' own:{rows}", unknown)


def in_child(flavour: Flavour, data: bytes, script: str) -> bytes:
    """Let a process of its own parse; return what it printed.

    Args:
        flavour: Whose parser.
        data: Given to it on its standard input.
        script: Python; it gets the library's module as its argument.

    Raises:
        EngineError: It died, or gave no answer.
    """
    try:
        child = subprocess.run(  # noqa: S603 - our own interpreter and script
            [sys.executable, "-I", "-c", script, flavour.module],
            input=data,
            capture_output=True,
            timeout=_TRIAL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _crash(f"no answer in {_TRIAL_SECONDS} s") from error
    if child.returncode not in (0, _REFUSED):
        last = child.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise _crash(f"exit status {child.returncode}: {' '.join(last)}")
    return child.stdout


def _crash(found: str) -> EngineError:
    return EngineError("TensorRT's ONNX parser ends its process on this graph", found=found)


def _refusal(parser: Any, model: ir.Model, log: Log) -> Exception:
    """Return the error for a graph the parser did not take, in terms of our layers."""
    layers = {str(node.name): metadata.layer_of(node) for node in model.graph}
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    rows = [
        (layers.get(error.node_name()) or error.node_name(), error.node_operator(), error.desc())
        for error in errors
    ]
    if not rows:
        return EngineError("TensorRT's ONNX parser failed", found="; ".join(log.errors()[:3]))
    text = "".join(f"\n  {layer} ({kind}): {why}" for layer, kind, why in rows)
    return UnsupportedLayerError(
        f"TensorRT's ONNX parser refuses {len(rows)} nodes:{text}",
        [(layer, kind) for layer, kind, _ in rows],
        hint="use --via network",
    )


def _check_interface(definition: Any, model: ir.Model) -> None:
    """An empty or cut file parses without complaint; its network has not our inputs."""
    found = [
        [definition.get_input(index).name for index in range(definition.num_inputs)],
        [definition.get_output(index).name for index in range(definition.num_outputs)],
    ]
    wanted = [
        [str(value.name) for value in model.graph.inputs],
        [str(value.name) for value in model.graph.outputs],
    ]
    if found != wanted:
        raise EngineError(
            "the parsed network has other inputs or outputs", found=str(found), wanted=str(wanted)
        )
    for index, value in enumerate(model.graph.outputs):
        sizes = [int(size) for size in definition.get_output(index).shape]
        if value.shape is not None and not _fits(sizes, value.shape):
            raise EngineError(
                f"TensorRT's parser gives output {value.name!r} another shape than ONNX says",
                found=str(sizes),
                wanted=str(list(value.shape)),
                hint="use --via network",
            )


def _fits(sizes: list[int], wanted: ir.Shape) -> bool:
    """Compare what is known of two shapes; the parser says -1 of what it does not know."""
    return len(sizes) == len(wanted) and all(
        not isinstance(own, int) or size in (own, -1)
        for size, own in zip(sizes, wanted, strict=True)
    )
