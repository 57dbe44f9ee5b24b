"""Operations of the user's own: shape rule, NumPy reference and CUDA source, given once.

An ONNX node stands for one (`segrt.graph.custom_nodes`). Importers emit it, passes prove with its
NumPy reference, CPU targets run that reference, TensorRT gets a plugin and the CUDA engine a
kernel made from its CUDA source. Code never travels in a file: whoever opens a package that needs
an operation has to define it himself, and a hash tells whether it is the same.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from segrt._registry import Registry
from segrt.errors import EngineError, UsageError
from segrt.graph import _custom_signature as signatures
from segrt.graph.dims import Dim, Size, UnknownSizeError

Array: TypeAlias = npt.NDArray[Any]
Attribute: TypeAlias = int | float | str
Attributes: TypeAlias = dict[str, Attribute]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CustomOp:
    """One operation; calling it runs the NumPy reference.

    Attributes:
        name: Of the ONNX node, the TensorRT plugin and the CUDA kernel.
        inputs: Names of its inputs.
        attributes: Name -> type (int, float or str).
        defaults: Of attributes that need not be given.
        reference: In NumPy; arrays in, the array out, attributes by keyword.
        shape: Shapes in, the output's shape out, attributes by keyword.
        threads: Like ``shape``, but returns how many threads the kernel wants; None: one for
            each element of the output.
        cuda: What one thread does; see `custom_op`.
        functions: CUDA functions that ``cuda`` calls.
        sha256: Of all of the above.
        module: Where it was defined.
    """

    name: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, type]
    defaults: Attributes
    reference: Callable[..., Any]
    shape: Callable[..., Any]
    threads: Callable[..., Any] | None
    cuda: str
    functions: str
    sha256: str
    module: str

    def __call__(self, *arrays: npt.ArrayLike, **attributes: Attribute) -> Array:
        """Compute the reference.

        Raises:
            UsageError: Attributes that it does not have, or of another type.
            EngineError: The reference fails, or its result has another shape than the rule says.
        """
        return self.compute([np.asarray(array) for array in arrays], self.bind(attributes))

    def bind(self, given: Mapping[str, object]) -> Attributes:
        """Return all attributes, in the operation's order, each of its own type.

        Raises:
            UsageError: One is missing, unknown or of another type.
        """
        unknown = [name for name in given if name not in self.attributes]
        values = {**self.defaults, **given}
        missing = [name for name in self.attributes if name not in values]
        if unknown or missing:
            raise UsageError(
                f"custom operation {self.name!r} got other attributes than it has",
                found=", ".join(given) or "none",
                wanted=", ".join(self.attributes) or "none",
            )
        return {
            name: signatures.value(self.name, name, kind, values[name])
            for name, kind in self.attributes.items()
        }

    def output_shape(
        self, shapes: Sequence[Sequence[Size]], attributes: Attributes
    ) -> tuple[Size, ...]:
        """Ask the shape rule.

        Raises:
            UsageError: It fails, or returns something else than sizes.
        """
        found = self._ask(self.shape, "shape rule", shapes, attributes)
        sizes = tuple(found) if isinstance(found, tuple | list) else None
        if sizes is None or not all(map(_is_size, sizes)):
            raise UsageError(
                f"the shape rule of custom operation {self.name!r} returns no shape",
                found=repr(found),
                wanted="a tuple of sizes of at least 1",
            )
        return tuple(size if isinstance(size, Dim) else int(size) for size in sizes)

    def thread_count(self, shapes: Sequence[Sequence[Size]], attributes: Attributes) -> Size:
        """Return how many threads the kernel is run with.

        Raises:
            UsageError: The rule fails.
        """
        if self.threads is None:
            total: Size = 1
            for size in self.output_shape(shapes, attributes):
                total = total * size
            return total
        found: Size = self._ask(self.threads, "rule for threads", shapes, attributes)
        if not _is_size(found):
            raise UsageError(
                f"the rule for threads of custom operation {self.name!r} returns no number",
                found=repr(found),
            )
        return found

    def compute(self, arrays: Sequence[Array], attributes: Attributes) -> Array:
        """Run the reference; the result has the type of the first array.

        Raises:
            EngineError: It fails, or its result has another shape than the rule says.
        """
        wanted = self.output_shape([array.shape for array in arrays], attributes)
        try:
            found = np.asarray(self.reference(*arrays, **attributes))
        except Exception as error:
            raise EngineError(
                f"the NumPy reference of custom operation {self.name!r} fails",
                found=f"{type(error).__name__}: {error}",
            ) from error
        if found.shape != wanted:
            raise EngineError(
                f"reference and shape rule of custom operation {self.name!r} disagree",
                found=f"an array of shape {found.shape}",
                wanted=str(wanted),
            )
        return np.ascontiguousarray(found, dtype=arrays[0].dtype)

    def _ask(
        self,
        rule: Callable[..., Any],
        what: str,
        shapes: Sequence[Sequence[Size]],
        attributes: Attributes,
    ) -> Any:
        if len(shapes) != len(self.inputs):
            raise UsageError(
                f"custom operation {self.name!r} got {len(shapes)} inputs",
                wanted=f"{len(self.inputs)}: {', '.join(self.inputs)}",
            )
        try:
            return rule(*map(tuple, shapes), **attributes)
        except Exception as error:
            unknown = isinstance(error, UnknownSizeError)
            raise UsageError(
                f"the {what} of custom operation {self.name!r} fails",
                found=f"{type(error).__name__}: {error}",
                wanted="a rule that only uses + - * // and %" if unknown else None,
                hint="fix the sizes when building: --batch 1 --size 256x256" if unknown else None,
            ) from error

    def __repr__(self) -> str:
        return f"<custom operation {self.name!r}>"


REGISTRY: Registry[CustomOp] = Registry("custom operation", "segrt.graph.custom")


def custom_op(
    name: str,
    *,
    cuda: str,
    shape: Callable[..., Any] | None = None,
    functions: str = "",
    threads: Callable[..., Any] | None = None,
) -> Callable[[Callable[..., Any]], CustomOp]:
    """Define an operation of your own by its NumPy reference, shape rule and CUDA source.

    The decorated function is the reference: its positional parameters are the inputs (arrays of
    one float type), its keyword-only parameters the attributes, annotated ``int``, ``float`` or
    ``str``. It returns one array.

    Args:
        name: Lower-case letters, digits and underscores; unique.
        cuda: What one thread does. It may use ``i``, the number of its element in the output (in
            C order); each input by its name, ``x[j]`` being element j as a float and ``x.size[k]``
            the size of axis k; ``out[i] = value`` and ``out.size[k]``; and each attribute by its
            name (a text ``mode="fast"`` defines the macro ``MODE_IS_FAST``).
        shape: ``shape(*input_shapes, **attributes)`` returns the output's shape. A size may be
            unknown while the network is built, so it should only use ``+ - * // %``. None: that
            of the first input.
        functions: CUDA functions (``__device__``) that ``cuda`` calls.
        threads: Like ``shape``, but returns how many threads are started, ``i`` counting them.
            None: one for each element of the output.

    Returns:
        A decorator that makes a function a `CustomOp`.

    Raises:
        UsageError: Names or types that are not possible, or the name is taken.
    """

    def decorate(reference: Callable[..., Any]) -> CustomOp:
        inputs, kinds, defaults = signatures.read(name, reference)
        rule = shape or _same_shape
        written = [name, list(inputs), {key: kind.__name__ for key, kind in kinds.items()}]
        written += [defaults, cuda, functions]
        written += [_source(name, code) for code in (reference, shape, threads) if code]
        digest = hashlib.sha256(json.dumps(written).encode()).hexdigest()
        op = CustomOp(
            name, inputs, kinds, defaults, reference, rule, threads, cuda, functions, digest,
            reference.__module__,
        )  # fmt: skip
        _register(op)
        return op

    return decorate


def _register(op: CustomOp) -> None:
    known = REGISTRY.find(op.name) if not op.module.startswith(REGISTRY.package) else None
    if known is None:
        REGISTRY.register(op.name)(op)
    elif known.module == op.module:
        # A file that is read again, a cell of a notebook that is run again.
        REGISTRY.replace(op.name, op)
    elif known.sha256 != op.sha256:
        raise UsageError(
            f"there are two custom operations called {op.name!r}",
            found=f"one in {known.module}, one in {op.module}",
            hint="give one of them another name",
        )


def _source(name: str, code: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(code)
    except (OSError, TypeError) as error:
        raise UsageError(
            f"the source of custom operation {name!r} cannot be found",
            found=str(error),
            hint="define it in a file",
        ) from error


def _same_shape(first: tuple[Size, ...], *_others: Any, **_attributes: Any) -> tuple[Size, ...]:
    return first


def _is_size(value: object) -> bool:
    if isinstance(value, Dim):
        return True
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and 1 <= int(value) < math.inf  # type: ignore[call-overload]
