"""Custom operations in CUDA: compiled for every GPU, run on the processor, partitioned."""

import ctypes
import itertools
import shutil
import subprocess

import numpy as np
import onnx_ir as ir
import pytest

from segrt.cuda.custom_source import plugin_source
from segrt.cuda.driver import compile_source
from segrt.cuda.fuse import fuse
from segrt.cuda.jobs import Job, signature
from segrt.cuda.kernel_specs import kernel_spec
from segrt.cuda.kernels._base import REGISTRY
from segrt.cuda.kernels.custom import CustomSpec
from segrt.cuda.operations import Custom
from segrt.cuda.partition import partition
from segrt.cuda.plan import make_plan
from segrt.cuda.views import View
from segrt.errors import EngineError, UnsupportedLayerError
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.graph.custom.upsample_bilinear import upsample_bilinear
from segrt.graph.custom.upsample_nearest import upsample_nearest
from segrt.graph.custom_ops import custom_op

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")


@custom_op(
    "test_gate",
    cuda="""
    int plane = x.size[2] * x.size[3];
    float v = x[i], w = gate[i] * scales[i / plane % scales.size[0]];
#if MODE_IS_HARD
    out[i] = w > limit ? v : 0.0f;
#else
    out[i] = v * w * times;
#endif
    """,
)
def gate_by(x, gate, scales, *, mode: str, limit: float = 0.5, times: int = 2):
    w = gate * scales[:, None, None]
    return np.where(w > limit, x, 0) if mode == "hard" else x * w * times


@custom_op(
    "test_best_channel",
    cuda="""
    // One thread a pixel writes all channels.
    int channels = x.size[1], plane = x.size[2] * x.size[3];
    int first = i / plane * channels * plane + i % plane, best = 0;
    for (int c = 1; c < channels; ++c) if (x[first + c * plane] > x[first + best * plane]) best = c;
    for (int c = 0; c < channels; ++c) out[first + c * plane] = c == best ? 1.0f : 0.0f;
    """,
    threads=lambda x: x[0] * x[2] * x[3],
)
def best_channel(x):
    return (np.arange(x.shape[1])[:, None, None] == x.argmax(axis=1)[:, None]).astype(x.dtype)


def gate_spec(mode, dtype="fp32"):
    given = gate_by.bind({"mode": mode})
    sources = (View(2, 3, 5, 4, dtype, 12, 4), View(2, 3, 5, 4, dtype))
    target = View(2, 3, 5, 4, dtype, 8, 4)
    return CustomSpec(gate_by, tuple(given.items()), sources, target, ((2, (4,)),))


SPECS = [
    *REGISTRY.find("custom").cases,
    gate_spec("hard"),
    gate_spec("soft"),
    gate_spec("soft", "fp16"),
    CustomSpec(best_channel, (), (View(2, 3, 5, 4, "fp32", 9, 3),), View(2, 3, 5, 4, "fp32")),
]
PLUGINS = {
    "nearest": (upsample_nearest, {"rows": 3, "columns": 2}, [(2, 3, 5, 4)]),
    "bilinear": (upsample_bilinear, {"rows": 2, "columns": 3}, [(1, 2, 4, 7)]),
    "hard gate": (
        gate_by, gate_by.bind({"mode": "hard", "limit": 0.25}), [(2, 4, 3, 5), (2, 4, 3, 5), (4,)],
    ),
    "best channel": (best_channel, {}, [(2, 5, 3, 4)]),
}  # fmt: skip


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_compiles_for_every_gpu(architecture):
    pytest.importorskip("cuda.core", reason="cuda-core is not installed")
    kernel = REGISTRY.find("custom")
    for spec in SPECS[-4:]:
        launch = kernel.launch(spec)
        assert compile_source(launch.source, architecture, launch.entry)[:4] == b"\x7fELF"
    for op, attributes, shapes in PLUGINS.values():
        ranks = [*map(len, shapes), 4]
        for dtype in ("fp32", "fp16"):
            source = plugin_source(op, attributes, dtype, ranks)
            assert compile_source(source, architecture, f"custom_{op.name}")[:4] == b"\x7fELF"


HOST = r"""
#include <cmath>
#include <algorithm>
#include <cstring>
#define __global__
#define __device__
#define __forceinline__ inline
struct Axis { unsigned x; };
static thread_local Axis blockIdx, blockDim, threadIdx;
using std::min; using std::max;
static unsigned __float_as_uint(float v) { unsigned u; std::memcpy(&u, &v, 4); return u; }
static float __uint_as_float(unsigned u) { float v; std::memcpy(&v, &u, 4); return v; }
static int __float2int_rn(float v) { return (int)std::nearbyint(v); }
#define __expf(v) std::exp(v)
%s
extern "C" void run(unsigned blocks, unsigned threads, void** arguments) {
    blockDim.x = threads;
    for (unsigned b = 0; b < blocks; ++b)
        for (unsigned t = 0; t < threads; ++t) {
            blockIdx.x = b; threadIdx.x = t;
            %s;
        }
}
"""
_NUMBERS = itertools.count()


def on_processor(tmp_path, source, entry, kinds):
    """Compile a kernel as C++ and return what runs it, thread by thread.

    ``kinds`` says of each argument whether it is a pointer (p) or an int (i).
    """
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    casts = [
        f"(decltype(argument({entry}, Number<{n}>())))arguments[{n}]"
        if kind == "p"
        else f"*(int*)arguments[{n}]"
        for n, kind in enumerate(kinds)
    ]
    helper = (
        "#include <tuple>\ntemplate <int N> struct Number {};\n"
        "template <class... A, int N> std::tuple_element_t<N, std::tuple<A...>>\n"
        "argument(void (*)(A...), Number<N>);\n"
    )
    stem = tmp_path / f"kernel{next(_NUMBERS)}"
    text = HOST % (source + helper, f"{entry}({', '.join(casts)})")
    stem.with_suffix(".cpp").write_text(text)
    command = [compiler, "-std=c++17", "-O1", "-fPIC", "-shared", "-w", "-ffp-contract=off"]
    command += [str(stem.with_suffix(".cpp")), "-o", str(stem.with_suffix(".so"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    library = ctypes.CDLL(str(stem.with_suffix(".so")))

    def run(blocks, threads, arguments):
        held = [
            item.ctypes.data_as(ctypes.c_void_p)
            if isinstance(item, np.ndarray)
            else ctypes.cast(ctypes.pointer(ctypes.c_int(item)), ctypes.c_void_p)
            for item in arguments
        ]
        library.run(blocks, threads, (ctypes.c_void_p * len(held))(*held))

    return run


@pytest.mark.parametrize("name", PLUGINS)
def test_plugin_source_agrees_with_the_reference(tmp_path, name):
    op, attributes, shapes = PLUGINS[name]
    rng = np.random.default_rng(3)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    wanted = op(*arrays, **attributes)
    numbers = [*(size for array in arrays for size in array.shape), *wanted.shape]
    threads = op.thread_count(shapes, attributes)
    ranks = [*map(len, shapes), wanted.ndim]
    source = plugin_source(op, attributes, "fp32", ranks)
    kinds = "p" * len(arrays) + "i" * (len(numbers) + 1) + "p"
    run = on_processor(tmp_path, source, f"custom_{op.name}", kinds)
    found = np.full_like(wanted, np.nan)
    run(-(-threads // 256), 256, [*arrays, *numbers, threads, found])
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    if name == "nearest":
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    "spec", [s for s in SPECS if s.target.dtype == "fp32"], ids=lambda s: s.op.name
)
def test_engine_source_agrees_with_the_reference(tmp_path, spec):
    kernel = REGISTRY.find("custom")
    launch = kernel.launch(spec)
    rng = np.random.default_rng(4)
    memory = [rng.normal(size=(v.n, v.h, v.w, v.pitch)).astype(np.float32) for v in spec.sources]
    parameters = list(kernel.parameters(spec, 5))
    target = spec.target
    result = np.full((target.n, target.h, target.w, target.pitch), np.nan, np.float32)
    kinds = "p" * (len(memory) + len(parameters) + 1)
    run = on_processor(tmp_path, launch.source, launch.entry, kinds)
    slices = [array.reshape(-1)[v.offset :] for array, v in zip(memory, spec.sources, strict=True)]
    run(launch.blocks, launch.threads, [*slices, *parameters, result.reshape(-1)[target.offset :]])
    images = [
        array[..., v.offset : v.offset + v.c].astype(np.float64)
        for array, v in zip(memory, spec.sources, strict=True)
    ]
    wanted = kernel.reference(spec, images, parameters)
    channels = np.s_[target.offset : target.offset + target.c]
    np.testing.assert_allclose(result[..., channels], wanted, rtol=1e-5, atol=1e-6)
    # Nothing beside the slice was touched.
    assert np.isnan(np.delete(result, channels, axis=3)).all()


def network(shape=(1, 3, 4, 6)):
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    return GraphBuilder(graph), graph, shape


def test_the_engine_takes_images_and_constants():
    builder, graph, shape = network()
    x = builder.input("x", shape, ir.DataType.FLOAT)
    scales = builder.constant("scales", np.array([1.0, 2.0, 3.0], np.float32))
    bent = builder.op("Relu", [x], name="bent")
    value = builder.op(gate_by, [x, bent, scales], name="gated", mode="hard")
    graph.outputs.append(value)
    program = partition(ir.Model(graph, ir_version=IR_VERSION))
    (custom,) = [op for op in program.operations if isinstance(op, Custom)]
    assert custom.inputs == ("x:image", "bent")
    assert custom.op is gate_by
    assert custom.attributes == {"mode": "hard", "limit": 0.5, "times": 2}
    assert custom.constants[2].tolist() == [1, 2, 3]


def test_the_engine_refuses_what_is_no_image():
    builder, graph, _ = network()
    x = builder.input("x", (1, 3), ir.DataType.FLOAT)
    graph.outputs.append(builder.op(best_or_same, [x], name="flat"))
    with pytest.raises(UnsupportedLayerError, match="'flat'"):
        partition(ir.Model(graph, ir_version=IR_VERSION))


@custom_op("test_same", cuda="out[i] = x[i];")
def best_or_same(x):
    return x


def test_a_wrong_source_says_where():
    pytest.importorskip("cuda.core", reason="cuda-core is not installed")

    @custom_op("test_broken", cuda="out[i] = x[i] +;")
    def broken(x):
        return x

    source = plugin_source(broken, {}, "fp32", [1, 1])
    with pytest.raises(EngineError, match="custom_test_broken") as caught:
        compile_source(source, "sm_90", "custom_test_broken")
    assert "out[i] = x[i] +;" in caught.value.found


def test_too_many_elements_are_refused():
    spec = CustomSpec(
        best_or_same, (), (View(1, 65536, 65536, 1, "fp16"),), View(1, 65536, 65536, 1, "fp16")
    )
    with pytest.raises(EngineError, match="too large for one launch"):
        REGISTRY.find("custom").launch(spec)


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_the_engine_plans_a_launch_for_every_custom_node(dtype):
    pytest.importorskip("cuda.core", reason="cuda-core is not installed")
    builder, graph, shape = network((2, 3, 4, 6))
    x = builder.input("x", shape, ir.DataType.FLOAT)
    scales = builder.constant("scales", np.array([1.0, 2.0, 3.0], np.float32))
    gated = builder.op(gate_by, [x, builder.op("Relu", [x], name="r"), scales], name="g", mode="a")
    up = builder.op(upsample_nearest, [gated], name="up", rows=2, columns=2)
    again = builder.op(upsample_bilinear, [gated], name="again", rows=2, columns=2)
    graph.outputs.append(builder.op("Concat", [up, again], name="out", axis=1))
    plan = make_plan(fuse(partition(ir.Model(graph, ir_version=IR_VERSION))), dtype)
    seen = []
    for operation, sources, target in plan.steps:
        if not isinstance(operation, Custom):
            continue
        views = tuple(place.view for place in sources)
        job = Job(operation, views, (0,) * len(views), target.view, 0)
        assert operation.op.name in signature(job)
        name, spec, *parameters = kernel_spec(job)
        launch = REGISTRY.find(name).launch(spec)
        assert compile_source(launch.source, "sm_90", launch.entry)[:4] == b"\x7fELF"
        assert {view.dtype for view in views} <= {dtype, "fp32"}
        seen.append((operation.op.name, len(parameters), launch.blocks * launch.threads))
    wanted = 2 * 3 * 8 * 12
    assert [name for name, _, _ in seen] == ["test_gate", "upsample_nearest", "upsample_bilinear"]
    assert [count for _, count, _ in seen] == [1, 0, 0]
    assert all(threads >= wanted for _, _, threads in seen[1:])
