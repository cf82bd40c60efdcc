"""Gives traced arrays the methods and operators that NumPy's arrays have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxattr.scores.arrays import Array
from onnxattr.scores.operands import Binary, Unary
from onnxattr.scores.xp import elementwise, reductions, shapes


def _as_method(name: str, function: Callable[..., Array]) -> None:
    def method(self: Array, *arguments: Any, **options: Any) -> Array:
        return function(self, *arguments, **options)

    # Python's errors about arguments name a function by this.
    function.__qualname__ = method.__qualname__ = f"Array.{name}"
    method.__name__, method.__doc__ = name, function.__doc__
    setattr(Array, name, method)


def give_methods() -> None:
    """Gives arrays the methods and operators that NumPy's have."""
    for name in "sum prod mean max min any all var std argmax argmin".split():
        _as_method(name, getattr(reductions, name))
    for name in ("clip", "round"):
        _as_method(name, getattr(elementwise, name))
    for name in ("squeeze", "take"):
        _as_method(name, getattr(shapes, name))
    _as_method("reshape", lambda a, *shape: shapes.reshape(a, shape[0] if len(shape) == 1 else shape))
    _as_method("transpose", _transpose)
    _as_method("flatten", lambda a: shapes.reshape(a, (-1,)))
    for name, function in _ARITHMETIC.items():
        _as_method(f"__{name}__", function)
        _as_method(f"__r{name}__", lambda a, b, function=function: function(b, a))
    for name, compare in _COMPARISONS.items():
        _as_method(f"__{name}__", compare)
    for name, change in _SIGNS.items():
        _as_method(f"__{name}__", change)


def _transpose(a: Array, *axes: Any) -> Array:
    """The axes in another order; by default reversed."""
    return shapes.permute_dims(a, (axes[0] if len(axes) == 1 else axes) or None)


def _power(a: Any, b: Any) -> Array:
    """a ** b; squares and roots as what they are, whose gradients are exact at 0."""
    if not isinstance(b, Array) and np.ndim(b) == 0 and float(b) in (1.0, 2.0, 0.5):
        functions: dict[float, Unary] = {
            1.0: elementwise.positive,
            2.0: elementwise.square,
            0.5: elementwise.sqrt,
        }
        return functions[float(b)](a)
    return elementwise.pow(a, b)


#: Operators by the names of their methods, without underscores.
_ARITHMETIC: dict[str, Binary] = {
    "add": elementwise.add,
    "sub": elementwise.subtract,
    "mul": elementwise.multiply,
    "truediv": elementwise.divide,
    "pow": _power,
    "matmul": reductions.matmul,
    "floordiv": elementwise.floor_divide,
    "mod": elementwise.remainder,
    "and": elementwise.of_truths("&", elementwise.logical_and),
    "or": elementwise.of_truths("|", elementwise.logical_or),
    "xor": elementwise.of_truths("^", elementwise.logical_xor),
}
_COMPARISONS: dict[str, Binary] = {
    "lt": elementwise.less,
    "gt": elementwise.greater,
    "le": elementwise.less_equal,
    "ge": elementwise.greater_equal,
    "eq": elementwise.equal,
    "ne": elementwise.not_equal,
}
_SIGNS: dict[str, Unary] = {
    "neg": elementwise.negative,
    "pos": elementwise.positive,
    "abs": elementwise.abs,
    "invert": elementwise.of_truths("~", elementwise.logical_not),
}
