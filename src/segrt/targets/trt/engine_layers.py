"""The engine's own table of layers, as the builder prints it.

An engine inspector needs a GPU; the builder's verbose log does not, and says the same: which
kernels there are, what was fused into each, in which type and layout it runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from segrt.targets.trt.logger import Log

_ROW = re.compile(
    r"^Name: (?P<name>.*?), LayerType: (?P<kind>[^,]*), Inputs: \[(?P<inputs>.*?)\], "
    r"Constants: \[(?P<constants>.*?)\], Outputs: \[(?P<outputs>.*?)\], "
    r"TacticName: (?P<tactic>.*?), StreamId: .*?, Metadata: ?(?P<metadata>.*)$",
    re.MULTILINE,
)
_TENSOR = re.compile(
    r"\{ Name: (?P<name>.*?), Dimensions: \[(?P<shape>[^\]]*)\].*?"
    r"Datatype: (?P<type>\w+), Format: (?P<format>.*?) ?\}"
)
_NODES = re.compile(r"\[(?:segrt\.node|ONNX Layer): ([^\]]*)\]")


@dataclass(frozen=True, slots=True)
class EngineTensor:
    """What goes into or out of a kernel.

    Attributes:
        name: The engine's own name.
        shape: Sizes, -1 where free.
        type: Such as ``Half``.
        format: Memory layout, in TensorRT's words.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    format: str


@dataclass(frozen=True, slots=True)
class EngineLayer:
    """One kernel of an engine.

    Attributes:
        name: The engine's own name.
        kind: Such as ``correlation``, ``deconv``, ``kgen``.
        tactic: Its implementation, as far as it is chosen before run time.
        nodes: Names of the graph's nodes that were fused into it; empty for copies and reformats.
        inputs: What it reads.
        outputs: What it writes.
    """

    name: str
    kind: str
    tactic: str
    nodes: tuple[str, ...]
    inputs: tuple[EngineTensor, ...]
    outputs: tuple[EngineTensor, ...]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "name": self.name,
            "kind": self.kind,
            "tactic": self.tactic,
            "nodes": list(self.nodes),
            "inputs": [_tensor_json(tensor) for tensor in self.inputs],
            "outputs": [_tensor_json(tensor) for tensor in self.outputs],
        }


def read_engine_layers(log: Log) -> list[EngineLayer]:
    """Return the kernels of the engine that was built last, in order; empty if none was listed."""
    return [
        EngineLayer(
            name=row["name"],
            kind=row["kind"],
            tactic=row["tactic"],
            nodes=tuple(dict.fromkeys(_NODES.findall(row["metadata"]))),
            inputs=_tensors(row["inputs"]),
            outputs=_tensors(row["outputs"]),
        )
        for row in _ROW.finditer(log.layers())
    ]


def _tensors(text: str) -> tuple[EngineTensor, ...]:
    return tuple(
        EngineTensor(
            found["name"],
            tuple(int(size) for size in found["shape"].split(",") if size),
            found["type"],
            found["format"],
        )
        for found in _TENSOR.finditer(text)
    )


def _tensor_json(tensor: EngineTensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "type": tensor.type,
        "format": tensor.format,
    }
