"""Convert one call of one Keras layer into a model of its own, and run it."""

import functools

import onnx
import onnx_ir as ir
import onnxruntime
import openvino

from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.importers._layer_graph import KerasVersion
from segrt.importers.layers._base import REGISTRY, Call, Layout, Tensor

KERAS_2 = KerasVersion(2, 15, 0)
KERAS_3 = KerasVersion(3, 5, 0)


def convert(class_name, config, weights, shapes, *, version=KERAS_2, kwargs=None, remarks=None):
    """Return the ONNX model of one call: inputs ``x0`` ..., output in Keras' axis order.

    Args:
        class_name: Keras class.
        config: The layer's settings.
        weights: Arrays in Keras' order.
        shapes: One per input, batch first, in Keras' order; None is unknown. An image of a
            channels_last layer is stored N C H W, as a convolution before it would leave it.
        version: Keras version that saved the file.
        kwargs: Arguments of the call.
        remarks: Filled with the remarks.
    """
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="layer")
    builder = GraphBuilder(graph)
    converter = REGISTRY.find(class_name)
    assert converter is not None, class_name
    names = [spec.name for spec in converter.weights(config)]
    call = Call(
        builder,
        name="layer",
        layer_name="layer",
        class_name=class_name,
        config=config,
        keras_version=version,
        weights=dict(zip(names, weights, strict=True)),
        kwargs=kwargs or {},
        remark=[].append if remarks is None else remarks.append,
        constants={},
    )
    tensors = []
    for index, shape in enumerate(shapes):
        value = builder.input(f"x{index}", shape, ir.DataType.FLOAT)
        tensor = Tensor(value, Layout.SOURCE)
        if len(shape) in (4, 5) and config.get("data_format") != "channels_first":
            first = call.in_layout(tensor, Layout.CHANNELS_FIRST)
            tensor = Tensor(first, Layout.CHANNELS_FIRST)
        tensors.append(tensor)
    result = converter.convert(call, tensors if len(tensors) > 1 else tensors[0])
    graph.outputs.append(call.source(result))
    proto = ir.to_proto(ir.Model(graph, ir_version=IR_VERSION))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def run_onnxruntime(proto, arrays):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    return session.run(None, {f"x{index}": array for index, array in enumerate(arrays)})[0]


@functools.lru_cache(maxsize=4)
def _compiled(model):
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    return core.compile_model(core.read_model(model), "CPU", settings)


def run_openvino(proto, arrays):
    """Run a model; compiling is the slow part, so the last few are kept."""
    compiled = _compiled(proto.SerializeToString(deterministic=True))
    return next(iter(compiled(list(arrays)).values())).copy()


def apply(class_name, config, weights, *arrays, unknown=False, run=run_onnxruntime, **options):
    """Convert a layer and run it; ``unknown`` hides the sizes of height and width."""
    shapes = []
    for array in arrays:
        shape = [None, *array.shape[1:]]
        if unknown and array.ndim in (4, 5):
            first = 2 if config.get("data_format") == "channels_first" else 1
            axes = range(first, first + array.ndim - 2)
            shape = [None if axis in (0, *axes) else size for axis, size in enumerate(shape)]
        shapes.append(shape)
    return run(convert(class_name, config, weights, shapes, **options), arrays)
