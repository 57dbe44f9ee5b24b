"""Custom operations as TensorRT plugins: their whole life until a plan is built."""

import re

import onnx_ir as ir
import pytest

from helpers.tensorrt_plugins import IDimensionExpr, lean, plugin_layer, stand_in
from segrt.cuda import driver
from segrt.cuda.custom_source import plugin_source
from segrt.cuda.ptx import compiler_version
from segrt.errors import UnavailableError, UsageError
from segrt.graph.builder import OPSET, GraphBuilder
from segrt.graph.custom.upsample_bilinear import upsample_bilinear
from segrt.graph.custom.upsample_nearest import upsample_nearest
from segrt.graph.custom_ops import custom_op
from segrt.targets.trt import plugin
from segrt.targets.trt.layers._base import REGISTRY, kind_of
from segrt.targets.trt.plugin import plugin_of

pytest.importorskip("cuda.core", reason="cuda-core is not installed")


@custom_op(
    "test_halve",
    cuda="out[i] = gain * x[i * 2] * weights[i % weights.size[0]];",
    shape=lambda x, weights, *, gain, mode: (x[0], (x[1] + 1) // 2, 4),
    threads=lambda x, weights, *, gain, mode: 2 * x[0] * 7,
)
def halve(x, weights, *, gain: float, mode: str):
    return x[:, ::2, :4] * gain * weights


class Life:
    """Takes a plugin through what TensorRT asks of it while it builds."""

    def __init__(self, library, op, shapes, attributes):
        self.library = library
        self.shapes = shapes
        maker = plugin_of(library, op)(*[library.ITensor() for _ in shapes], **attributes)
        tensors, shape_inputs, self.plugin = maker(library.QuickPluginCreationRequest.STRICT_AOT)
        assert (len(tensors), shape_inputs) == (len(shapes), [])

    def types(self, dtype):
        count, ranks = len(self.shapes), [len(shape) for shape in self.shapes]
        return self.plugin.get_output_data_types([dtype] * count, ranks)

    def sizes(self):
        exprs = [self.library.DimsExprs(list(map(IDimensionExpr, s))) for s in self.shapes]
        self.exprs = exprs
        (found,) = self.plugin.get_output_shapes(exprs, [], self.library.IExprBuilder())
        self.output = tuple(size.value for size in found)
        return self.output

    def describe(self, dtype):
        self.all = []
        for shape in (*self.shapes, self.output):
            item = self.library.DynamicPluginTensorDesc()
            item.desc.dims, item.desc.type = self.library.Dims(shape), dtype
            item.desc.format, item.desc.scale = self.library.TensorFormat.LINEAR, 1.0
            item.min = item.max = item.opt = shape
            self.all.append(item)
        count = len(self.shapes)
        found = self.plugin.get_supported_format_combinations(self.all, count)
        self.plugin.configure_plugin(self.all[:count], self.all[count:])
        self.plugin.set_tactic(0)
        return [(item.type.name, item.format.name) for item in found]

    def launch(self):
        class Parameters:
            pass

        class Symbols(dict):
            nbSymExprs = 0  # noqa: N815 - its name there

        geometry, symbols = Parameters(), Symbols()
        self.plugin.get_launch_params(
            self.exprs, self.all, len(self.shapes), geometry, symbols, self.library.IExprBuilder()
        )
        arguments = [symbols[index] for index in range(symbols.nbSymExprs)]
        assert {item.dtype.name for item in arguments} <= {"INT32"}
        return geometry, [item.expr.value for item in arguments]

    def kernel(self):
        count = len(self.shapes)
        descs = [item.desc for item in self.all]
        return self.plugin.get_kernel(descs[:count], descs[count:])


@pytest.fixture
def library():
    made = stand_in()
    with plugin_layer(made):
        yield made


CASES = {
    "nearest": (
        upsample_nearest, [(2, 3, 5, 4)], {"rows": 3, "columns": 2}, (2, 3, 15, 8), 2 * 3 * 15 * 8,
    ),
    "bilinear": (
        upsample_bilinear, [(1, 64, 32, 48)], {"rows": 2, "columns": 2}, (1, 64, 64, 96),
        64 * 64 * 96,
    ),
    "with a constant": (
        halve, [(3, 7, 9), (4,)], {"gain": 0.25, "mode": "fast"}, (3, 4, 4), 2 * 3 * 7,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["FLOAT", "HALF", "BF16"])
def test_the_whole_life_until_a_plan_is_built(library, case, dtype):
    op, shapes, attributes, output, threads = CASES[case]
    kind = library.DataType[dtype]
    life = Life(library, op, shapes, attributes)
    assert life.types(kind) == [kind]
    assert life.sizes() == output
    combinations = life.describe(kind)
    count = len(shapes) + 1
    assert [name for name, _ in combinations] == [
        name for name in ("FLOAT", "HALF", "BF16") for _ in range(count)
    ]
    assert {name for _, name in combinations} == {"LINEAR"}
    assert life.plugin.get_valid_tactics() == []
    geometry, arguments = life.launch()
    assert geometry.grid_x.expr.value == -(-threads // 256)
    assert geometry.block_x.expr.value == 256
    assert geometry.shared_mem.expr.value == 0
    assert arguments == [*(size for shape in (*shapes, output) for size in shape), threads]
    name, code = life.kernel()
    assert name == f"custom_{op.name}"
    assert f".entry {name}(".encode() in code
    assert b".target sm_75" in code
    # In TensorRT's order: the inputs, the numbers, the output.
    bits = re.findall(rb"\.param \.[a-z](\d+)", code.split(b".entry", 1)[1].split(b")", 1)[0])
    assert bits == [*[b"64"] * len(shapes), *[b"32"] * len(arguments), b"64"]


def test_attributes_are_part_of_the_code(library):
    codes = []
    for gain, mode in ((0.25, "fast"), (0.5, "fast"), (0.25, "exact")):
        life = Life(library, halve, [(3, 7, 9), (4,)], {"gain": gain, "mode": mode})
        life.types(library.DataType.FLOAT)
        life.sizes()
        life.describe(library.DataType.FLOAT)
        life.launch()
        codes.append(life.kernel()[1])
    assert codes[0] != codes[1]
    # Nothing in the source asks for the mode.
    assert codes[0] == codes[2]


def test_an_operation_is_registered_once(library):
    first = plugin_of(library, upsample_nearest)
    assert plugin_of(library, upsample_nearest) is first
    names = [creator.name for creator in library.get_plugin_registry().all_creators]
    assert names == ["upsample_nearest"]


def test_another_operation_of_the_same_name_is_refused(library):
    def define(slope):
        return custom_op("test_twice", cuda=f"out[i] = x[i] * {slope}f;")(lambda x: x)

    plugin_of(library, define(1.0))
    with pytest.raises(UsageError, match="another plugin called 'test_twice'"):
        plugin_of(library, define(2.0))


def test_a_tensorrt_without_ahead_of_time_plugins_is_refused():
    old = stand_in("10.8.0.1", ahead_of_time=False)
    with plugin_layer(old), pytest.raises(UnavailableError) as caught:
        plugin_of(old, upsample_nearest)
    assert caught.value.wanted == "10.9 or newer"


def test_the_real_registry_makes_the_plugin():
    library = lean()
    with plugin_layer(library):
        attributes = {"gain": 0.25, "mode": "fast"}
        for op, given, ranks in (
            (upsample_nearest, {"rows": 2, "columns": 3}, [4]),
            (halve, attributes, [3, 1]),
        ):
            count = len(ranks)
            maker = plugin_of(library, op)(*[library.ITensor()] * count, **given)
            registry = library.get_plugin_registry()
            creator = registry.get_creator(op.name, "1", "segrt")
            assert isinstance(creator, library.IPluginCreatorV3Quick)
            assert op.name in [c.name for c in registry.all_creators]
            _, _, made = maker(library.QuickPluginCreationRequest.STRICT_AOT)
            assert made.plugin_name == op.name
            assert made.attrs == given
            assert {key: type(value) for key, value in made.attrs.items()} == dict(op.attributes)
            types = made.get_output_data_types([library.float16] * count, ranks)
            assert types == [library.float16]
            with pytest.raises(ValueError, match="JIT implementation requested"):
                maker(library.QuickPluginCreationRequest.STRICT_JIT)


class RecordingWriter:
    """What a converter writes with, as far as a plugin needs it."""

    def __init__(self, library):
        self.trt, self.network, self.added = library, self, []

    def tensor(self, value):
        found = self.trt.ITensor()
        found.name = value.name
        return found

    def add_plugin(self, plugin, *, aot):
        self.added.append((plugin, aot))
        return "the layer"

    def layer(self, layer):
        return layer, "its output"


def test_a_node_becomes_a_plugin_layer(library):
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    builder = GraphBuilder(graph)
    x = builder.input("x", [1, 2, 3, 4], ir.DataType.FLOAT)
    value = builder.op(upsample_nearest, [x], name="up", rows=2, columns=3)
    node = value.producer()
    converter = REGISTRY.find(kind_of(node))
    writer = RecordingWriter(library)
    assert converter(writer, node) == ("the layer", "its output")
    ((maker, aot),) = writer.added
    assert aot is True
    tensors, _, made = maker(library.QuickPluginCreationRequest.STRICT_AOT)
    assert [tensor.name for tensor in tensors] == ["x"]
    assert made.attrs == {"rows": 2, "columns": 3}


def test_a_driver_older_than_the_compiler_gets_machine_code(monkeypatch):
    source = plugin_source(halve, {"gain": 1.0, "mode": "a"}, "fp32", [3, 1, 3])
    monkeypatch.setattr(plugin, "compute_capability", lambda: (9, 0))
    major, minor = compiler_version()
    for version, head in (((major, minor), b"//"), ((major - 1, 9), b"\x7fELF")):
        monkeypatch.setattr(driver, "newest_ptx", lambda version=version: version)
        assert plugin.kernel_code(source, "custom_test_halve").lstrip()[: len(head)] == head
