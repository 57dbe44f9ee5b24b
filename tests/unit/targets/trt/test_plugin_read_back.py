"""Plugin layers read back: the plugin is NVIDIA's own Python object, the network around it fakes.

No TensorRT that can be installed without a GPU adds plugins to a network from Python. What
TensorRT keeps of a plugin is the clone that it asks for, so that is what the fake layer hands out.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import pytest

from helpers.tensorrt_plugins import plugin_layer, stand_in
from segrt.errors import UnsupportedConfigError, UnsupportedLayerError
from segrt.graph import custom_nodes
from segrt.graph.builder import OPSET, GraphBuilder
from segrt.graph.custom.upsample_nearest import upsample_nearest
from segrt.graph.custom_ops import custom_op
from segrt.passes._evaluate import evaluate
from segrt.targets.trt.decompile import decompile
from segrt.targets.trt.layers._base import REGISTRY, kind_of
from segrt.targets.trt.network import Network
from segrt.targets.trt.plugin import plugin_of

pytest.importorskip("cuda.core", reason="cuda-core is not installed")

SHAPE = (1, 2, 3, 4)


@custom_op("test_lean_on", cuda="out[i] = slope * x[i] + (i % by);")
def lean_on(x, *, slope: float, by: int):
    return slope * x + (np.arange(x.size) % by).reshape(x.shape)


class Layer:
    """What `INetworkDefinition.get_layer` hands out, as far as reading asks."""

    def __init__(self, library, name, inputs, plugin, shape):
        self.type = SimpleNamespace(name="PLUGIN_V3")
        self.name, self.metadata, self.plugin = name, "[segrt.layer: up][segrt.class: Up]", plugin
        self._inputs, self.num_inputs = inputs, len(inputs)
        self._output = SimpleNamespace(name=name, shape=shape, dtype=library.DataType.FLOAT)

    def get_input(self, index):
        return self._inputs[index]

    def get_output(self, index):
        return self._output if index == 0 else None


class IPluginV3Layer(Layer):
    """The class under which such a layer shows its plugin."""


@pytest.fixture
def library():
    made = stand_in()
    made.IPluginV3Layer = IPluginV3Layer
    with plugin_layer(made):
        yield made


def network(library, op, attributes, shape, *, change=None):
    """Write one operation with our own converter; return the network that TensorRT would keep."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    builder = GraphBuilder(graph)
    x = builder.input("x", SHAPE, ir.DataType.FLOAT)
    node = builder.op(op, [x], name="up", **attributes).producer()
    plugin_of(library, op)
    tensor = library.ITensor()
    tensor.name, tensor.shape, tensor.dtype = "x", SHAPE, library.DataType.FLOAT
    layers = []

    def add_plugin(maker, *, aot):
        assert aot
        tensors, _, plugin = maker(library.QuickPluginCreationRequest.STRICT_AOT)
        kept = plugin.clone()
        if change is not None:
            change(kept)
        layers.append(Layer(library, "up", tensors, kept, shape))
        return layers[-1]

    writer = SimpleNamespace(
        trt=library, tensor=lambda _: tensor, layer=lambda layer: layer.get_output(0),
        network=SimpleNamespace(add_plugin=add_plugin),
    )  # fmt: skip
    output = REGISTRY.find(kind_of(node))(writer, node)
    definition = SimpleNamespace(
        name="net", num_inputs=1, num_layers=1, num_outputs=1, get_input=lambda _: tensor,
        get_layer=lambda _: layers[0], get_output=lambda _: output,
    )  # fmt: skip
    return Network(library, None, definition, None, None, [], ())


CASES = {
    "ours": (upsample_nearest, {"rows": 2, "columns": 3}, (1, 2, 6, 12)),
    "a user's": (lean_on, {"slope": 0.25, "by": 5}, SHAPE),
}


@pytest.mark.parametrize("case", CASES)
def test_the_operation_and_its_settings_are_read_back(library, case):
    op, attributes, shape = CASES[case]
    read_back = decompile(network(library, op, attributes, shape))
    (node,) = read_back.graph
    assert (node.domain, node.op_type, node.name) == (custom_nodes.DOMAIN, op.name, "up")
    assert custom_nodes.attributes_of(node) == attributes
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    (output,) = read_back.graph.outputs
    assert tuple(output.shape) == shape
    found = evaluate(output, {read_back.graph.inputs[0]: x}, wide=False)
    np.testing.assert_array_equal(found, op(x, **attributes))


def test_planted_settings_are_read_back(library):
    def change(plugin):
        plugin.attrs = {**plugin.attrs, "slope": -1.0}

    op, attributes, shape = CASES["a user's"]
    read_back = decompile(network(library, op, attributes, shape, change=change))
    (node,) = read_back.graph
    assert custom_nodes.attributes_of(node) == {"slope": -1.0, "by": 5}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda plugin: setattr(plugin, "plugin_namespace", "other"), "other::upsample_nearest"),
        (lambda plugin: setattr(plugin, "plugin_name", "unknown"), "segrt::unknown"),
        (lambda plugin: delattr(plugin, "attrs"), "without settings"),
        (lambda plugin: plugin.attrs.pop("rows"), "settings"),
    ],
)
def test_what_is_not_known_is_refused(library, change, found):
    op, attributes, shape = CASES["ours"]
    net = network(library, op, attributes, shape, change=change)
    with pytest.raises(UnsupportedConfigError, match="'up' cannot be read back") as caught:
        decompile(net)
    assert found in str(caught.value.found)


def test_plugins_of_the_old_kind_are_refused(library):
    op, attributes, shape = CASES["ours"]
    net = network(library, op, attributes, shape)
    net.definition.get_layer(0).type = SimpleNamespace(name="PLUGIN_V2")
    with pytest.raises(UnsupportedLayerError, match="up: PLUGIN_V2"):
        decompile(net)
