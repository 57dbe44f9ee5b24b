"""Which nodes of a graph TensorRT takes, by either route, without building anything.

A node that is refused is taken out and what it made becomes an input, as it will be where another
engine makes it; then the rest is asked again, until nothing more is refused.
"""

from __future__ import annotations

import json

import onnx
import onnx_ir as ir

from segrt.errors import EngineError, SegrtError, UnsupportedConfigError
from segrt.graph.cut_out import cut_out
from segrt.targets.trt._flavour import Flavour
from segrt.targets.trt.network import begin, operator_refusal, write_node
from segrt.targets.trt.parser import check_precision, domain_refusal, in_child, prepared
from segrt.targets.trt.plugin import plugin_refusal
from segrt.types import Precision

Table = dict[ir.Node, str | None]

# TensorRT answers with the subgraphs that it takes, and an error for each node between them.
_QUESTION = """
import importlib, json, sys
trt = importlib.import_module(sys.argv[1])
log = trt.Logger(trt.Logger.INTERNAL_ERROR)
network = trt.Builder(log).create_network(0)
parser = trt.OnnxParser(network, log)
parser.supports_model_v2(sys.stdin.buffer.read())
taken = [n for i in range(parser.num_subgraphs) for n in parser.get_subgraph_nodes(i)]
errors = [parser.get_error(i) for i in range(parser.num_errors)]
print(json.dumps({"taken": taken, "why": {e.node_name(): e.desc() for e in errors}}))
"""


def survey_network(flavour: Flavour, model: ir.Model, precision: Precision) -> Table:
    """Write the network node by node; nothing is built.

    Raises:
        UsageError: A precision that cannot be written.
        UnavailableError: The library is missing.
        EngineError: TensorRT refuses an input.
    """
    table: Table = {
        node: plugin_refusal(flavour, node, by_parser=False) or operator_refusal(node)
        for node in model.graph
    }
    while (found := _first_refused(flavour, model, precision, table)) is not None:
        node, why = found
        table[node] = why
    return table


def survey_parser(flavour: Flavour, model: ir.Model, precision: Precision) -> Table:
    """Ask TensorRT's own parser, in a process of its own.

    Raises:
        UsageError: A precision that this route does not have.
        EngineError: The parser fails, or would end the process.
    """
    check_precision(precision)
    table: Table = {
        node: plugin_refusal(flavour, node, by_parser=True) or domain_refusal(node)
        for node in model.graph
    }
    while asked := _ask_parser(flavour, model, precision, table):
        table |= asked
    return table


def _first_refused(
    flavour: Flavour, model: ir.Model, precision: Precision, table: Table
) -> tuple[ir.Node, str] | None:
    """Return the first node that cannot be written, with those known to be refused left out.

    A new network each time: a layer that failed stays in a network, and TensorRT goes on to
    complain of it.
    """
    rest, origins = cut_out(model, [node for node, why in table.items() if why is not None])
    _, writer = begin(flavour, rest, precision)
    for node in rest.graph:
        try:
            write_node(writer, node)
        except (UnsupportedConfigError, EngineError) as error:
            return origins[node], _words(error)
    return None


def _ask_parser(
    flavour: Flavour, model: ir.Model, precision: Precision, table: Table
) -> dict[ir.Node, str]:
    """Return what the parser refuses of the nodes that are left."""
    rest, origins = cut_out(model, [node for node, why in table.items() if why is not None])
    if len(rest.graph) == 0:
        return {}
    data = prepared(rest, precision)
    answer = json.loads(in_child(flavour, data, _QUESTION))
    taken, names = set(answer["taken"]), {str(node.name): node for node in origins.values()}
    # Numbers are those of the nodes in the file, where half precision has casts between ours.
    file = onnx.load_from_string(data)
    return {
        names[node.name]: _parser_words(answer["why"].get(node.name))
        for number, node in enumerate(file.graph.node)
        if number not in taken and node.name in names
    }


def _words(error: SegrtError) -> str:
    if isinstance(error, UnsupportedConfigError):
        return f"found {error.found}, TensorRT wants {error.wanted}"
    return f"{error.message}: {error.found}" if error.found else error.message


def _parser_words(why: str | None) -> str:
    return f"TensorRT's parser: {why}" if why else "TensorRT's parser does not take it"


__all__ = ["survey_network", "survey_parser"]
