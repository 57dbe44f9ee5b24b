"""Run as a script, in a process of its own: check a TensorFlow graph, then convert it to ONNX.

Takes two files: the request (JSON: kind, path, target, inputs, outputs) and where to write the
answer (JSON: result, message, found). Imports nothing of this project.

Nothing is loaded before every operator is known to be harmless: the protocol buffers are only
parsed. Allowed is what computes, by tf2onnx's or TensorFlow's own word, what training leaves in a
graph, and, beside what the network itself runs, what a SavedModel needs to store its variables.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

OPSET = 18
# What tf2onnx does not convert but resolves: calls, variables, checks.
_STRUCTURE = frozenset(
    (
        "Assert", "AssignVariableOp", "Const", "ConsumeMutexLock", "DisableCopyOnRead", "Identity",
        "IdentityN", "NoOp", "PartitionedCall", "Placeholder", "PlaceholderWithDefault",
        "ReadVariableOp", "Select", "StatefulPartitionedCall", "StopGradient", "VarHandleOp",
        "VarIsInitializedOp", "_Arg", "_Retval", "StatelessIf", "FusedBatchNormV3", "Snapshot",
        "PreventGradient", "EnsureShape", "VariableV2", "Variable", "Assign",
        "IsVariableInitialized", "Switch", "Merge", "Enter", "Exit", "LoopCond", "NextIteration",
    )
)  # fmt: skip
# A SavedModel's own functions for storing itself; never part of what a network runs.
_STORING = frozenset(
    (
        "MergeV2Checkpoints", "Pack", "RestoreV2", "SaveV2", "ShardedFilename",
        "StaticRegexFullMatch", "StringJoin",
    )
)  # fmt: skip
# What training leaves in a graph: it changes variables and draws numbers, nothing else.
_TRAINING = re.compile(
    r"Assign(Add|Sub)?(VariableOp)?|(Resource|Sparse|ResourceSparse)?Apply[A-Z]\w*|Variable(V2|Shape)"
    r"|(Resource)?Scatter[A-Z]\w*|ResourceGather(Nd)?|TruncatedNormal|Random[A-Z]\w*|Multinomial"
    r"|ParameterizedTruncatedNormal|Stateful\w*(Normal|Uniform\w*)|Rng(ReadAnd)?Skip"
    r"|Stack\w*|TensorArray\w*|CheckNumerics(V2)?|GuaranteeConst|If|While|Case|DeviceIndex"
)
# These reach outside the graph, though tf2onnx converts some and TensorFlow says of others that
# they keep no state.
_NEVER = re.compile(r".*PyFunc.*|Print(V2)?|.*Files?|.*Dataset.*|.*TextFile.*|.*Reader.*|Debug.*")


class Refused(Exception):  # noqa: N818 - an answer, not an error of this program
    """Ends the run with an answer."""

    def __init__(self, result: str, message: str, found: Iterable[Any] = ()) -> None:
        self.answer = {"result": result, "message": message, "found": list(found)}
        super().__init__(message)


def main(asked: Path, answered: Path) -> None:
    """Do what is asked and write the answer."""
    request = json.loads(asked.read_text("utf-8"))
    try:
        arguments = _saved_model(request) if request["kind"] == "saved-model" else _frozen(request)
        _convert(arguments)
        answer = {"result": "ok", "message": "", "found": []}
    except Refused as refusal:
        answer = refusal.answer
    except Exception as error:  # noqa: BLE001 - whatever TensorFlow raises is the answer
        message = f"{type(error).__name__}: {error}"[-600:]
        answer = {"result": "failed", "message": message, "found": []}
    answered.write_text(json.dumps(answer), encoding="utf-8")


def _convert(arguments: list[str]) -> None:
    import tf2onnx.convert

    _teach()

    sys.argv = ["tf2onnx", *arguments, "--opset", str(OPSET)]
    tf2onnx.convert.main()


def _teach() -> None:
    """Give tf2onnx what it does not know, and take away what it does wrong."""
    from tf2onnx import tfonnx
    from tf2onnx.handler import tf_op

    # It matches all of them first: of two in a row, the second one's input is gone by its turn.
    # Written as Greater, Cast and Mul they are as TensorFlow computes them.
    tfonnx.rewrite_thresholded_relu = lambda _, nodes: nodes
    # Newer TensorFlow says its exact GELU by erfc.

    if "Erfc" in _convertible():
        return

    @tf_op("Erfc")
    class _Erfc:
        @classmethod
        def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
            dtypes, shapes = [ctx.get_dtype(node.output[0])], [ctx.get_shape(node.output[0])]
            one = ctx.make_const(f"{node.name}__one", np.array(1, dtype=np.float32))
            erf = ctx.make_node("Erf", [node.input[0]], dtypes=dtypes, shapes=shapes)
            ctx.remove_node(node.name)
            ctx.make_node(
                "Sub",
                [one.output[0], erf.output[0]],
                name=node.name,
                outputs=node.output,
                dtypes=dtypes,
                shapes=shapes,
            )


def _saved_model(request: dict[str, Any]) -> list[str]:
    from tensorflow.core.protobuf import saved_model_pb2

    message = saved_model_pb2.SavedModel()
    folder = Path(request["path"])
    message.ParseFromString((folder / "saved_model.pb").read_bytes())
    for meta in message.meta_graphs:
        _check(meta.graph_def, {_node(t.name) for t in _signature_tensors(meta)})
    inlined = [_beside("inline").allow_inlining(meta.graph_def) for meta in message.meta_graphs]
    parted = any(n.op == "Switch" for meta in message.meta_graphs for n in meta.graph_def.node)
    if parted:
        for meta in message.meta_graphs:
            _beside("phase").settle(meta.graph_def)
            _forget(meta)
    if parted or any(inlined):
        folder = shutil.copytree(folder, Path(request["target"]).with_name("settled"))
        (folder / "saved_model.pb").write_bytes(message.SerializeToString())
    return ["--saved-model", str(folder), "--output", request["target"]]


def _forget(meta: Any) -> None:
    """Delete the lists that name nodes which are gone."""
    names = {node.name for node in meta.graph_def.node}
    for key, listed in list(meta.collection_def.items()):
        gone = {_node(item) for item in listed.node_list.value} - names
        if gone or key in ("cond_context", "while_context"):
            del meta.collection_def[key]


def _beside(part: str) -> ModuleType:
    """Load a file beside this one; its folder must not be searched for modules."""
    path = Path(__file__).with_name(f"_tensorflow_{part}.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _signature_tensors(meta: Any) -> Iterator[Any]:
    for signature in meta.signature_def.values():
        yield from signature.outputs.values()
        yield from signature.inputs.values()


def _frozen(request: dict[str, Any]) -> list[str]:
    from tensorflow.core.framework import graph_pb2

    message = graph_pb2.GraphDef()
    message.ParseFromString(Path(request["path"]).read_bytes())
    if not message.node:
        raise Refused("failed", "the graph is empty")
    _check(message, {node.name for node in message.node})
    phases = _beside("phase").names_of_phases(message.node)
    path = Path(request["target"]).with_name("settled.pb")
    _beside("phase").settle(message)
    _beside("inline").allow_inlining(message)
    path.write_bytes(message.SerializeToString())
    names = {node.name for node in message.node}
    inputs = request["inputs"] or [
        f"{node.name}:0"
        for node in message.node
        if node.op == "Placeholder" and node.name not in phases
    ]
    if not request["outputs"]:
        used = {_node(item) for node in message.node for item in node.input}
        ends = [f"{node.name}:0" for node in message.node if node.name not in used]
        raise Refused("outputs", "a frozen graph does not say what it returns", ends)
    unknown = [name for name in [*inputs, *request["outputs"]] if _node(name) not in names]
    if unknown:
        raise Refused("outputs", "the graph has no such tensors", unknown)
    return [
        "--graphdef", str(path), "--output", request["target"],
        "--inputs", ",".join(inputs), "--outputs", ",".join(request["outputs"]),
    ]  # fmt: skip


def _check(graph: Any, wanted: set[str]) -> None:
    """Refuse a graph that holds an operator that is neither computing nor storing.

    Args:
        graph: A ``GraphDef``.
        wanted: Nodes of the network itself: what they need must compute.
    """
    computing = _convertible() | _STRUCTURE
    functions = {function.signature.name: function for function in graph.library.function}
    run = list(_reached(graph, functions, wanted))
    everything = [*graph.node, *(n for f in functions.values() for n in f.node_def)]
    bad = {node.op for node in run if not _known(node.op, computing, functions)}
    bad |= {n.op for n in everything if not _known(n.op, computing | _STORING, functions)}
    if bad:
        raise Refused("unsafe", "operators that reach outside the graph", sorted(bad))


def _known(kind: str, allowed: frozenset[str], functions: dict[str, Any]) -> bool:
    if _NEVER.fullmatch(kind):
        return False
    return kind in allowed or kind in functions or _is_harmless(kind)


def _is_harmless(kind: str) -> bool:
    """Say whether an operator only computes, or trains; tf2onnx need not know it."""
    from tensorflow.python.framework import op_def_registry

    if kind in _STORING:
        return False
    found = op_def_registry.get(kind)
    return found is not None and (not found.is_stateful or bool(_TRAINING.fullmatch(kind)))


def _convertible() -> frozenset[str]:
    """Return the names of the TensorFlow operators that tf2onnx converts."""
    import tf2onnx.tfonnx  # noqa: F401 - registers its handlers
    from tf2onnx.handler import tf_op

    versions = tf_op.get_opsets().values()
    return frozenset(name for opsets in versions for handlers in opsets for name in handlers)


def _reached(graph: Any, functions: dict[str, Any], wanted: set[str]) -> Iterator[Any]:
    """Yield the nodes that the wanted ones depend on, bodies of called functions included."""
    nodes = {node.name: node for node in graph.node}
    stack, seen = list(wanted), set(wanted)
    called: set[str] = set()
    queue: list[Any] = []
    while stack:
        node = nodes.get(stack.pop())
        if node is None:
            continue
        queue.append(node)
        fresh = {_node(item) for item in node.input} - seen
        seen |= fresh
        stack += fresh
    while queue:
        node = queue.pop()
        yield node
        for name in {node.op, *_called(node)} & set(functions) - called:
            called.add(name)
            queue += functions[name].node_def


def _called(node: Any) -> Iterator[str]:
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        for function in value.list.func:
            yield function.name


def _node(tensor: str) -> str:
    """Return the node that a tensor (``^name``, ``name:0``) belongs to."""
    return tensor.lstrip("^").split(":")[0]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
