"""A small U-Net with the marks of an imported Keras model, and a session to run it with."""

import json
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import pytest

from segrt.graph import metadata
from segrt.graph.builder import OPSET, GraphBuilder
from segrt.types import Precision, TensorSpec
from segrt.verification._ort import PlainRunner
from segrt.verification.reference import ImportedGraph
from segrt.verification.subject import Subject

LAST = (0, 2, 3, 1)


class UnetMaker:
    def __init__(self, height=16, width=24, batch=None, channels=4, seed=0):
        self.rng = np.random.default_rng(seed)
        self.graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="unet")
        self.model = ir.Model(self.graph, ir_version=10)
        self.builder = GraphBuilder(self.graph)
        self.channels = channels
        self.x = self.builder.input("input_1", (batch, height, width, 2), ir.DataType.FLOAT)
        metadata.tag_value(self.x, "input_1", None)
        metadata.set_source(
            self.model, metadata.Source("unet.h5", "abc", "keras-h5", "2.15.0", "tensorflow", "u")
        )

    def tag(self, value, name, class_name):
        producer = value.producer()
        metadata.tag_node(producer, name, class_name)
        metadata.tag_value(value, name, LAST)
        return value

    def conv(self, name, x, wide, *, size=3, activation="Relu"):
        b, fan = self.builder, x.shape[1] * size * size
        kernel = self.rng.normal(size=(wide, x.shape[1], size, size)) * np.sqrt(2 / fan)
        weight = b.constant(f"{name}/kernel", kernel.astype(np.float32))
        bias = b.constant(f"{name}/bias", self.rng.normal(size=wide).astype(np.float32) * 0.1)
        inner = b.op("Conv", [x, weight, bias], name=f"{name}:conv", pads=[size // 2] * 4)
        metadata.tag_node(inner.producer(), name, "Conv2D")
        if activation is None:
            b.rename(inner, name)
            return self.tag(inner, name, "Conv2D")
        return self.tag(b.op(activation, [inner], name=name), name, "Conv2D")

    def build(self):
        b, wide = self.builder, self.channels
        x = b.op("Transpose", [self.x], name="input_1:nchw", perm=[0, 3, 1, 2])
        a = self.conv("conv_a", x, wide)
        pool = b.op("MaxPool", [a], name="pool", kernel_shape=[2, 2], strides=[2, 2])
        self.tag(pool, "pool", "MaxPooling2D")
        inner = self.conv("conv_b", pool, 2 * wide)
        scales = b.constant("up:scales", np.array([1, 1, 2, 2], np.float32))
        up = b.op(
            "Resize", [inner, None, scales], name="up", mode="nearest",
            coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip
        self.tag(up, "up", "UpSampling2D")
        c = self.conv("conv_c", up, wide)
        both = self.tag(b.op("Concat", [a, c], name="concat", axis=1), "concat", "Concatenate")
        d = self.conv("conv_d", both, wide)
        drop = self.tag(b.op("Identity", [d], name="drop"), "drop", "Dropout")
        last = self.conv("out", drop, 1, size=1, activation="Sigmoid")
        last.name = "out:nchw"
        out = b.op("Transpose", [last], name="transposed", perm=LAST)
        out.name = "out"
        metadata.move_tags(last, out)
        out.metadata_props.pop(metadata.TO_SOURCE)
        self.graph.outputs.append(out)
        return self.model


class GraphSession:
    """A session on a graph, as a target would open it."""

    def __init__(self, model):
        self._runner = PlainRunner(model, threads=1)
        self.inputs = tuple(_spec(value) for value in model.graph.inputs)
        self.outputs = tuple(_spec(value) for value in model.graph.outputs)

    def run(self, feeds):
        return self._runner.run(feeds)

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _spec(value):
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return TensorSpec(value.name, shape, "float32", channel_axis=-1)


@dataclass
class Case:
    """An imported and a lowered graph, and images."""

    imported: ir.Model
    lowered: ir.Model
    inputs: dict
    precision: Precision = Precision.FP32
    deployed: ir.Model | None = None
    opener: object = GraphSession

    def subject(self):
        deployed = self.deployed or self.lowered
        return Subject(
            "test", self.imported, self.lowered, self.precision,
            lambda: GraphSession(deployed), self.opener,
        )  # fmt: skip

    def value(self, name, model=None):
        return value_of(model or self.lowered, name)

    def node(self, name):
        return self.value(name).producer()

    def change_weight(self, name, change):
        initializer = self.lowered.graph.initializers[name]
        array = initializer.const_value.numpy().copy()
        change(array)
        initializer.const_value = ir.Tensor(array, name=name)

    def record(self, path, change=None):
        """Write a recording of the imported graph; ``change`` may spoil it."""
        reference = ImportedGraph(self.imported, self.inputs)
        content = {f"input/{name}": array for name, array in self.inputs.items()}
        content |= {f"output/{n}": array for n, array in reference.fetch_outputs(slice(None))}
        names = reference.names()
        content |= {f"layer/{n}": a for n, a in reference.fetch(names, slice(None))}
        meta = {"format": 1, "keras_version": "2.15.0", "source_sha256": "abc"}
        content["meta"] = np.array(json.dumps(meta))
        if change:
            change(content)
        np.savez(path, **content)
        return path


def value_of(model, name):
    return ir.convenience.create_value_mapping(model.graph)[name]


@pytest.fixture
def make_case():
    def make(images=2, **options):
        model = UnetMaker(**options).build()
        shape = [size if isinstance(size, int) else images for size in model.graph.inputs[0].shape]
        shape[0] = images
        x = np.random.default_rng(7).random(shape, dtype=np.float32)
        return Case(model, model.clone(deep_copy=True), {"input_1": x})

    return make


@pytest.fixture
def case(make_case):
    return make_case()
