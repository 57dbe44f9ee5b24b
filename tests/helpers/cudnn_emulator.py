"""cuDNN's graph API without a GPU, as far as the CUDA engine uses it: computed in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from helpers.cuda_emulator import EmulatedGpu
from segrt.cuda.built_plans import BuiltPlans
from segrt.cuda.cudnn_graph import Library
from segrt.cuda.views import decode, encode

# The plan that is compiled at run time.
SLOW = 1


_CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "elu": lambda x: np.where(x < 0, np.expm1(x), x),
}


class Unsupported(Exception):  # noqa: N818 - stands for cuDNN's
    """What the emulated cuDNN has no plan for."""


class EmulatedLibrary(Library):
    """Stands for cuDNN: two plans a graph, which want workspace and spoil it.

    Attributes:
        adds_images: Whether it has plans that add an image to a convolution's result.
    """

    adds_images = True

    def __init__(self, gpu: EmulatedGpu) -> None:
        kinds = {"FLOAT": "fp32", "HALF": "fp16", "BFLOAT16": "bf16", "INT8": "int8"}
        self.module = SimpleNamespace(  # type: ignore[assignment]
            pygraph=lambda **settings: _Operations(gpu, self.adds_images, **settings),
            data_type=SimpleNamespace(**kinds, INT32="int32"),
            heur_mode=SimpleNamespace(A=0, FALLBACK=1),
            behavior_note=SimpleNamespace(RUNTIME_COMPILATION=0),
            numerical_note=SimpleNamespace(TENSOR_CORE=0, DOWN_CONVERT_INPUTS=1),
            cudnnGraphNotSupportedError=Unsupported,
        )
        self.handle, self.version = object(), 0
        self.plans = BuiltPlans("emulated")

    def close(self) -> None:
        """Give nothing back."""
        self.handle = None


class _Tensor:
    def __init__(self, op: str, parts: tuple[Any, ...] = (), **settings: Any) -> None:
        self.op, self.parts, self.settings = op, parts, settings

    def __getattr__(self, name: str) -> Callable[[Any], _Tensor]:
        if not name.startswith("set_"):
            raise AttributeError(name)

        def put(value: Any) -> _Tensor:
            # A convolution has strides of another kind already.
            key = "strides" if name == "set_stride" else name.removeprefix("set_")
            self.settings[key] = value
            return self

        return put


class _Operations:
    """A graph of cuDNN's, with the operations that the engine asks for."""

    workspace = 4096
    # What was written, by what stands for it.
    written: ClassVar[list[tuple[list[_Tensor], int]]] = []

    def __init__(self, gpu: EmulatedGpu, adds_images: bool, **settings: Any) -> None:
        self._gpu, self._adds_images, self._settings = gpu, adds_images, settings
        self._tensors: list[_Tensor] = []
        self._built: int | None = None

    def _add(self, tensor: _Tensor) -> _Tensor:
        self._tensors.append(tensor)
        return tensor

    def tensor(self, **settings: Any) -> _Tensor:
        return self._add(_Tensor("tensor", (), **settings))

    def conv_fprop(self, image: _Tensor, weight: _Tensor, **settings: Any) -> _Tensor:
        return self._add(_Tensor("fprop", (image, weight), **settings))

    def conv_dgrad(self, loss: _Tensor, filter: _Tensor, **settings: Any) -> _Tensor:  # noqa: A002
        return self._add(_Tensor("dgrad", (loss, filter), **settings))

    def bias(self, input: _Tensor, bias: _Tensor) -> _Tensor:  # noqa: A002
        return self._add(_Tensor("add", (input, bias)))

    def add(self, a: _Tensor, b: _Tensor) -> _Tensor:
        return self._add(_Tensor("add", (a, b)))

    def mul(self, a: _Tensor, b: _Tensor) -> _Tensor:
        return self._add(_Tensor("mul", (a, b)))

    def relu(
        self,
        input: _Tensor,  # noqa: A002
        negative_slope: float = 0.0,
        upper_clip: float = np.inf,
    ) -> _Tensor:
        settings = {"slope": negative_slope, "upper": upper_clip}
        return self._add(_Tensor("relu", (input,), **settings))

    def sigmoid(self, input: _Tensor) -> _Tensor:  # noqa: A002
        return self._add(_Tensor("sigmoid", (input,)))

    def tanh(self, input: _Tensor) -> _Tensor:  # noqa: A002
        return self._add(_Tensor("tanh", (input,)))

    def elu(self, input: _Tensor) -> _Tensor:  # noqa: A002
        return self._add(_Tensor("elu", (input,)))

    def validate(self) -> None:
        for tensor in self._tensors:
            added = [part.settings for part in tensor.parts if tensor.op == "add"][1:]
            if added and added[0]["dim"][0::2] != [1, 1]:
                assert added[0]["dim"] == self._tensors[-1].settings["dim"]
                if not self._adds_images:
                    raise Unsupported
            if tensor.op != "fprop":
                continue
            image, weight = (part.settings for part in tensor.parts)
            assert image["dim"][1] % weight["dim"][1] == 0
            if image["data_type"] == "int8":
                plain = tensor.settings["compute_data_type"] == "int32"
                whole = image["dim"][1] % 16 == weight["dim"][0] % 16 == 0
                if not (plain and whole and tensor.settings["data_type"] == "fp32"):
                    raise Unsupported

    def build_operation_graph(self) -> None:
        assert self._tensors

    def create_execution_plans(self, modes: list[int]) -> None:
        assert modes

    def deselect_numeric_notes(self, notes: list[int]) -> None:
        assert notes

    def check_support(self) -> None:
        assert self._tensors[-1].settings["output"]

    def get_execution_plan_count(self) -> int:
        return 2

    def get_plan_name_at_index(self, index: int) -> str:
        return f"plan{index}"

    def get_behavior_notes_for_plan_at_index(self, index: int) -> list[int]:
        return [0] if index == SLOW else []

    def build_plan_at_index(self, index: int) -> None:
        assert index < 2
        self._built = index

    def get_workspace_size_plan_at_index(self, index: int) -> int:
        return self.workspace

    def get_workspace_size(self) -> int:
        assert self._built is not None
        return self.workspace

    def serialize(self) -> list[int]:
        """Write the plan that was built last."""
        assert self._built is not None
        self.written.append((self._tensors, self._built))
        return list(f"plan {len(self.written) - 1}".encode())

    def deserialize(self, handle: object, written: list[int]) -> None:
        if not isinstance(written, list) or bytes(written[:5]) != b"plan ":
            raise RuntimeError("cannot be read")
        self._tensors, self._built = self.written[int(bytes(written[5:]))]

    def _execute(self, pack: dict[int, int], workspace: int, handle: object) -> None:
        assert self._built is not None
        self._execute_plan_at_index(pack, workspace, self._built, handle)

    def _execute_plan_at_index(
        self, pack: dict[int, int], workspace: int, index: int, handle: object
    ) -> None:
        pointers = dict(pack)
        self._gpu.enqueue("cudnn", lambda: self._compute(pointers, workspace))

    def _compute(self, pack: dict[int, int], workspace: int) -> None:
        last = self._tensors[-1]
        numbers = self._value(last, pack)
        self._gpu.elements(workspace, "uint8", (self.workspace,), (1,))[...] = 0xFF
        target = self._window(last, pack)
        target[...] = encode(numbers.astype(np.float32), last.settings["data_type"])

    def _window(self, tensor: _Tensor, pack: dict[int, int]) -> np.ndarray:
        s = tensor.settings
        strides = s["strides"] if "strides" in s else s["stride"]
        return self._gpu.elements(pack[s["uid"]], s["data_type"], s["dim"], strides)

    def _value(self, tensor: _Tensor, pack: dict[int, int]) -> np.ndarray:
        if tensor.op == "tensor":
            found = decode(self._window(tensor, pack), tensor.settings["data_type"])
            return found.astype(np.float64)
        parts = [self._value(part, pack) for part in tensor.parts]
        if tensor.op == "relu":
            low = np.minimum(parts[0], 0) * tensor.settings["slope"]
            return low + np.clip(parts[0], 0, tensor.settings["upper"])
        if tensor.op in _CURVES:
            return _CURVES[tensor.op](parts[0])
        if tensor.op in ("add", "mul"):
            a, b = (part.astype(np.float32) for part in parts)
            return a + b if tensor.op == "add" else a * b
        compute = convolve if tensor.op == "fprop" else spread
        return compute(*parts, tensor.settings)


def convolve(image: np.ndarray, kernel: np.ndarray, settings: dict[str, Any]) -> np.ndarray:
    """Return a convolution of N C H W with O C/groups y x, as cuDNN counts its settings."""
    pads = [(0, 0), (0, 0), *zip(settings["pre_padding"], settings["post_padding"], strict=True)]
    image = np.pad(image, pads)
    (sy, sx), (dy, dx) = settings["stride"], settings["dilation"]
    outputs, inputs, height, width = kernel.shape
    h = (image.shape[2] - dy * (height - 1) - 1) // sy + 1
    w = (image.shape[3] - dx * (width - 1) - 1) // sx + 1
    groups = image.shape[1] // inputs
    result = np.zeros((image.shape[0], outputs, h, w))
    for y in range(height):
        for x in range(width):
            part = image[:, :, y * dy :, x * dx :][:, :, : (h - 1) * sy + 1 : sy]
            part = part[..., : (w - 1) * sx + 1 : sx]
            split = part.reshape(len(part), groups, inputs, h * w)
            taps = kernel[:, :, y, x].reshape(groups, -1, inputs)
            result += (taps @ split).reshape(result.shape)
    return result


def spread(image: np.ndarray, kernel: np.ndarray, settings: dict[str, Any]) -> np.ndarray:
    """Return a transposed convolution of N C H W with C O/groups y x."""
    n, _, height, width = settings["dim"]
    (sy, sx), (dy, dx) = settings["stride"], settings["dilation"]
    top, left = settings["pre_padding"]
    inputs, each, ky, kx = kernel.shape
    groups = settings["dim"][1] // each
    h, w = image.shape[2:]
    full = np.zeros(
        (n, groups * each, (h - 1) * sy + dy * ky + height, (w - 1) * sx + dx * kx + width)
    )
    split = image.reshape(n, groups, inputs // groups, h * w)
    for y in range(ky):
        for x in range(kx):
            taps = kernel[:, :, y, x].reshape(groups, inputs // groups, each).transpose(0, 2, 1)
            part = (taps @ split).reshape(n, groups * each, h, w)
            full[:, :, y * dy :, x * dx :][:, :, : h * sy : sy, : w * sx : sx] += part
    return full[:, :, top : top + height, left : left + width]
