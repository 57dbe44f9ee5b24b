"""The CUDA source of a custom operation, for the engine and for a TensorRT plugin.

What the user wrote is the body of a loop over ``i``. Around it goes a kernel that gives it its
inputs and its output as objects with sizes and an element access: in the engine an image lies
N H W C with a pitch and all sizes are constants; in a plugin everything is dense and sizes are
arguments. The body cannot tell: elements are counted in N C H W either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from segrt.cuda.kernels._limits import require
from segrt.cuda.kernels._prelude import ELEMENTS, PRELUDE
from segrt.cuda.views import View
from segrt.graph.custom_ops import Attributes, CustomOp

_SUPPORT = r"""
struct Dense {
    static __device__ __forceinline__ int element(u32 thread) { return thread; }
    static __device__ __forceinline__ u64 address(int i) { return i; }
};
template <int C, int H, int W, int PITCH> struct Image {
    // Neighbouring threads take neighbouring channels, as they lie in memory.
    static __device__ __forceinline__ int element(u32 thread) {
        u32 pixel = thread / C, w = pixel % W, row = pixel / W;
        return ((row / H * C + thread % C) * H + row % H) * W + w;
    }
    // From a place in N C H W to one in N H W C.
    static __device__ __forceinline__ u64 address(int i) {
        u32 w = (u32)i % W, r = (u32)i / W, h = r % H;
        r /= H;
        return ((u64)(r / C * H + h) * W + w) * PITCH + r % C;
    }
};
template <class T> struct Cell {
    typename T::S* at;
    __device__ __forceinline__ void operator=(float v) const { *at = T::store(v); }
};
template <class T, class Order, int RANK> struct Source {
    const typename T::S* data;
    int size[RANK];
    __device__ __forceinline__ float operator[](int i) const {
        return T::load(data[Order::address(i)]);
    }
};
template <class T, class Order, int RANK> struct Target {
    typename T::S* data;
    int size[RANK];
    __device__ __forceinline__ Cell<T> operator[](int i) const {
        return Cell<T>{data + Order::address(i)};
    }
};
"""


@dataclass(frozen=True, slots=True)
class Operand:
    """What an input or the output is in the kernel.

    Attributes:
        dtype: Element type, as `View` names them.
        sizes: As C expressions; numbers in the engine, arguments in a plugin.
        view: How it lies in the engine; None where it is dense.
    """

    dtype: str
    sizes: tuple[str, ...]
    view: View | None = None

    @property
    def order(self) -> str:
        """The C++ type that knows where an element lies."""
        if self.view is None:
            return "Dense"
        return f"Image<{self.view.c}, {self.view.h}, {self.view.w}, {self.view.pitch}>"

    def type(self, kind: str) -> str:
        """Return the C++ type: ``kind`` is ``Source`` or ``Target``."""
        return f"{kind}<{ELEMENTS[self.dtype]}, {self.order}, {max(1, len(self.sizes))}>"

    def value(self, pointer: str) -> str:
        """Return the initializer."""
        return f"{{{pointer}, {{{', '.join(self.sizes) or '1'}}}}}"


def entry_name(op: CustomOp) -> str:
    """Return the name of the kernel."""
    return f"custom_{op.name}"


def image_operand(view: View) -> Operand:
    """Return the operand of an image in the engine."""
    return Operand(view.dtype, tuple(map(str, (view.n, view.c, view.h, view.w))), view)


def dense_operand(shape: Sequence[int], dtype: str) -> Operand:
    """Return the operand of a constant in the engine."""
    return Operand(dtype, tuple(map(str, shape)))


def engine_source(
    op: CustomOp,
    attributes: Attributes,
    inputs: Sequence[Operand],
    target: View,
    *,
    order: Sequence[int],
    threads: int | None,
) -> tuple[str, int]:
    """Return the source for given sizes, and how many threads it wants.

    Args:
        op: The operation.
        attributes: Of this node.
        inputs: In the operation's order.
        target: What is written.
        order: Which input each pointer of the launch is.
        threads: By the operation's rule; None: one for each element, neighbouring threads writing
            neighbouring ones.

    Raises:
        EngineError: More elements than 32 bits can count.
    """
    total = prod((target.n, target.c, target.h, target.w)) if threads is None else threads
    spans = [prod(map(int, operand.sizes)) for operand in inputs]
    largest = max(total, target.n * target.c * target.h * target.w, *spans)
    require(largest, of="elements", who=f"custom operation {op.name!r}")
    arguments = [_pointer(op, inputs, index) for index in order]
    operand = image_operand(target)
    counted = operand.order if threads is None else "Dense"
    source = _kernel(op, attributes, inputs, operand, arguments, total=str(total), counted=counted)
    return source, total


def plugin_source(op: CustomOp, attributes: Attributes, dtype: str, ranks: Sequence[int]) -> str:
    """Return the source for sizes that are arguments.

    The arguments are the inputs' pointers, then as ``int`` the sizes of each input, those of the
    output and the number of threads, then the output's pointer: TensorRT's order.

    Args:
        op: The operation.
        attributes: Of this node.
        dtype: Element type of all tensors, as `View` names them.
        ranks: Of the inputs and, last, of the output.
    """
    operands = [
        Operand(dtype, tuple(f"segrt_{index}_{axis}" for axis in range(rank)))
        for index, rank in enumerate(ranks)
    ]
    inputs, target = operands[:-1], operands[-1]
    arguments = [_pointer(op, inputs, index) for index in range(len(inputs))]
    arguments += [f"int {size}" for operand in operands for size in operand.sizes]
    arguments.append("int segrt_total")
    return _kernel(op, attributes, inputs, target, arguments, total="segrt_total", counted="Dense")


def _pointer(op: CustomOp, inputs: Sequence[Operand], index: int) -> str:
    return f"const {ELEMENTS[inputs[index].dtype]}::S* __restrict__ segrt_{op.inputs[index]}"


def _kernel(
    op: CustomOp,
    attributes: Attributes,
    inputs: Sequence[Operand],
    target: Operand,
    arguments: Sequence[str],
    *,
    total: str,
    counted: str,
) -> str:
    listed = ",\n    ".join([*arguments, f"{ELEMENTS[target.dtype]}::S* __restrict__ segrt_out"])
    objects = [
        f"const {operand.type('Source')} {name}{operand.value(f'segrt_{name}')};"
        for name, operand in zip(op.inputs, inputs, strict=True)
    ]
    objects.append(f"const {target.type('Target')} out{target.value('segrt_out')};")
    objects += [_constant(name, value) for name, value in attributes.items()]
    macros = [
        f"#define {name.upper()}_IS_{value.upper()} 1\n"
        for name, value in attributes.items()
        if isinstance(value, str)
    ]
    body = "\n    ".join(objects)
    return (
        f"{PRELUDE}{_SUPPORT}{''.join(macros)}{op.functions}\n"
        f'extern "C" __global__ void {entry_name(op)}(\n    {listed}) {{\n'
        "    u32 segrt_thread = blockIdx.x * blockDim.x + threadIdx.x;\n"
        f"    if (segrt_thread >= {total}) return;\n"
        f"    const int i = {counted}::element(segrt_thread);\n"
        f"    {body}\n    {{\n{op.cuda}\n    }}\n}}\n"
    )


def _constant(name: str, value: float | str) -> str:
    if isinstance(value, str):
        return ""
    if isinstance(value, int):
        return f"constexpr int {name} = {value};"
    return f"constexpr float {name} = {value!r}f;"
