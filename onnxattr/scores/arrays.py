"""Symbolic arrays: values of a graph that behave like arrays, so that a Python function can be traced into the graph.

Arithmetic, comparisons, indexing and methods append nodes. Names and meanings are those of the array API standard
(https://data-apis.org/array-api), also where NumPy's own functions are called on such arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxattr.errors import OperatorError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.values import dims_of
from onnxattr.scores.indexing import indexed

_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.INT16, ir.DataType.INT8, ir.DataType.UINT8)


class Array:
    """A value of a graph, used as an array; see the module's docstring.

    Attributes:
        op: The builder of the graph.
        value: The value in the graph.
        real: The float type of the model, that integers become where a real number is needed.
    """

    def __init__(self, op: OpBuilder, value: ir.Value, real: ir.DataType):
        self.op, self.value, self.real = op, value, real

    if TYPE_CHECKING:  # what onnxattr.scores.xp gives to the class

        def __getattr__(self, name: str) -> Any: ...

        def _operator(self, other: Any) -> Array: ...

        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _operator
        __pow__ = __rpow__ = __matmul__ = __rmatmul__ = __floordiv__ = __rfloordiv__ = _operator
        __mod__ = __rmod__ = __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _operator
        __lt__ = __gt__ = __le__ = __ge__ = _operator

        def __neg__(self) -> Array: ...

    # What it is.

    @property
    def dtype(self) -> np.dtype:
        """The type of its elements."""
        return np.dtype(self.kind.numpy())

    @property
    def kind(self) -> ir.DataType:
        """The same, as ONNX names it."""
        if self.value.dtype is None:
            raise OperatorError(f"The operator: the type of {self.value.name!r} is not known.")
        return self.value.dtype

    @property
    def ndim(self) -> int:
        """The number of its axes."""
        dims = dims_of(self.value)
        if dims is None:
            raise OperatorError(
                f"The operator: how many axes {self.value.name!r} has is not known before it runs; "
                "reshape() it to a shape of known rank first."
            )
        return len(dims)

    @property
    def shape(self) -> tuple[Any, ...]:
        """Its sizes: integers, or integer arrays () where a size is known only when the graph runs."""
        dims = dims_of(self.value)
        self.ndim  # noqa: B018 - says so if the rank is unknown
        return tuple(
            d
            if isinstance(d, int)
            else self.new(self.op.Squeeze(self.op.Shape(self.value, start=k, end=k + 1), [0]))
            for k, d in enumerate(dims or [])
        )

    @property
    def T(self) -> Array:  # noqa: N802
        """The transposed matrix."""
        transposed: Array = self.__array_namespace__().permute_dims(self)
        return transposed

    @property
    def mT(self) -> Array:  # noqa: N802
        """The last two axes swapped."""
        swapped: Array = self.__array_namespace__().matrix_transpose(self)
        return swapped

    @property
    def size(self) -> Any:
        """The number of its elements: an integer, or an integer array () if only a run tells."""
        dims = dims_of(self.value) or []
        fixed = [d for d in dims if isinstance(d, int)]
        if len(fixed) == len(dims):
            return math.prod(fixed)
        return self.new(self.op.Size(self.value))

    def new(self, value: ir.Value) -> Array:
        """Another value of the same graph as an array."""
        return Array(self.op, value, self.real)

    def constant(self, given: Any, dtype: ir.DataType | None = None) -> Array:
        """Numbers that the function brings along, as an array of the same graph."""
        array = np.asarray(given)
        if array.dtype.kind not in "fiub":
            raise OperatorError(
                f"The operator computes with {type(given).__name__} {given!r:.60}; expected numbers or traced arrays."
            )
        if dtype is None:
            dtype = {"f": self.real, "b": ir.DataType.BOOL}.get(array.dtype.kind, ir.DataType.INT64)
        return self.new(self.op.constant(array, dtype))

    def astype(self, dtype: Any) -> Array:
        """The elements in another type: a NumPy type, or float, int or bool."""
        kind = dtype if isinstance(dtype, ir.DataType) else _kind_of(dtype, self.real)
        return self if kind == self.kind else self.new(self.op.Cast(self.value, to=kind.value))

    def as_real(self) -> Array:
        """The elements as real numbers: floats as they are, integers and booleans in the model's float type."""
        return self if self.kind in FLOATS else self.astype(self.real)

    # What it is not.

    def __bool__(self) -> bool:
        raise OperatorError(
            "The operator asks whether a traced array is true (if, while, and, or, not, min, max or assert), but it "
            "has no numbers yet: use where(condition, a, b), logical_and, logical_or, logical_not, maximum or minimum."
        )

    def __iter__(self) -> Any:
        first = self.shape[0] if self.ndim else None
        if not isinstance(first, int):
            raise OperatorError(
                "The operator loops over an axis whose length is known only when the graph runs: compute with whole "
                "arrays, and reduce them with sum, mean, max or min along an axis."
            )
        return iter([self[k] for k in range(first)])

    def __len__(self) -> int:
        first = self.shape[0] if self.ndim else None
        if not isinstance(first, int):
            raise _no_number("len()")
        return first

    def __float__(self) -> float:
        raise _no_number("float()")

    def __int__(self) -> int:
        raise _no_number("int()")

    def __index__(self) -> int:
        raise _no_number("range() or an index")

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise OperatorError(
            "The operator turns a traced array into numbers (np.array(), or a function of another library that takes "
            "NumPy arrays), but it has none yet: use its methods and operators, and the functions of onnxattr.xp."
        )

    numpy = item = tolist = __array__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        dims = dims_of(self.value)
        told = "..." if dims is None else ", ".join(str(d if d is not None else "?") for d in dims)
        return f"Array(({told}), {self.kind.name.lower()})"

    # NumPy's functions and operators.

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return self._by_name(
            ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}", inputs, options
        )

    def __array_function__(self, function: Any, _: Any, arguments: Any, options: Any) -> Any:
        return self._by_name(function.__name__, arguments, options)

    def _by_name(self, name: str, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
        from onnxattr.scores import xp

        function = getattr(xp, _NUMPY_NAMES.get(name, name), None)
        # Those that make arrays of nothing traced are NumPy's, which would come back here.
        if function is None or name.startswith("_") or function is getattr(np, name, None):
            raise OperatorError(
                f"The operator calls numpy.{name} on a traced array, which has no counterpart in a graph: use the "
                "functions of onnxattr.xp."
            )
        return function(*arguments, **options)

    def __array_namespace__(self, **_: Any) -> Any:
        from onnxattr.scores import xp

        return xp

    def __getitem__(self, key: Any) -> Array:
        return self.new(indexed(self.op, self.value, key, _index_of))

    def __setitem__(self, key: Any, value: Any) -> None:
        raise OperatorError(
            "The operator writes into a traced array, which a graph cannot: use where(condition, a, b) or concat."
        )


def _no_number(what: str) -> OperatorError:
    return OperatorError(
        f"The operator needs the number that a traced array holds, for {what}, but it has none yet: go on computing "
        "with arrays, and take fixed sizes and indices from the model."
    )


def _index_of(key: Any) -> ir.Value | None:
    """The value of an index that is a traced array."""
    return key.value if isinstance(key, Array) else None


#: Names that NumPy has for functions of the array API.
_NUMPY_NAMES = {
    "absolute": "abs", "true_divide": "divide", "power": "pow", "float_power": "pow", "concatenate": "concat",
    "amax": "max", "amin": "min", "transpose": "permute_dims", "conjugate": "positive",
} | {f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")}  # fmt: skip


def _kind_of(dtype: Any, real: ir.DataType) -> ir.DataType:
    if dtype is float:
        return real
    if dtype is int:
        return ir.DataType.INT64
    if dtype is bool:
        return ir.DataType.BOOL
    try:
        kind = ir.DataType.from_numpy(np.dtype(dtype))
    except (TypeError, ValueError) as error:
        raise OperatorError(
            f"The operator casts to {dtype!r}; expected a NumPy type, or float, int or bool."
        ) from error
    if kind not in (*FLOATS, *_INTEGERS, ir.DataType.BOOL):
        raise OperatorError(f"The operator casts to {dtype!r}, which no traced array can hold.")
    return kind
