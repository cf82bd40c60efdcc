"""The functions for symbolic arrays, by their names in the array API standard: ``from onnxattr import xp``.

Beyond the standard there are sigmoid, softmax, log_softmax and vector_norm without ``linalg``. Functions that make
arrays of nothing traced, such as ``arange(5)``, are NumPy's.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy import arange, e, eye, full, inf, linspace, nan, newaxis, ones, pi, tril, triu, zeros  # noqa: F401

from onnxattr.scores.arrays import Array
from onnxattr.scores.xp.elementwise import (  # noqa: F401
    abs,
    acos,
    acosh,
    add,
    asin,
    asinh,
    atan,
    atanh,
    ceil,
    clip,
    cos,
    cosh,
    divide,
    equal,
    erf,
    exp,
    expm1,
    floor,
    floor_divide,
    greater,
    greater_equal,
    hypot,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    positive,
    pow,
    reciprocal,
    remainder,
    round,
    sigmoid,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    subtract,
    tan,
    tanh,
    trunc,
    where,
)  # fmt: skip
from onnxattr.scores.xp.reductions import (  # noqa: F401
    all,
    any,
    argmax,
    argmin,
    cumulative_sum,
    log_softmax,
    matmul,
    max,
    mean,
    min,
    prod,
    softmax,
    std,
    sum,
    var,
    vecdot,
    vector_norm,
)  # fmt: skip
from onnxattr.scores.xp.shapes import (  # noqa: F401
    asarray,
    astype,
    broadcast_to,
    concat,
    expand_dims,
    flip,
    full_like,
    matrix_transpose,
    moveaxis,
    ones_like,
    permute_dims,
    reshape,
    roll,
    squeeze,
    stack,
    take,
    take_along_axis,
    tile,
    zeros_like,
)  # fmt: skip

float16, float32, float64, int32, int64, bool = (
    np.dtype(name) for name in ("float16", "float32", "float64", "int32", "int64", "bool")
)


linalg = SimpleNamespace(
    matmul=matmul, matrix_transpose=matrix_transpose, vecdot=vecdot, vector_norm=vector_norm
)


def _as_method(name: str, function: Any) -> None:
    def method(self: Array, *arguments: Any, **options: Any) -> Array:
        return function(self, *arguments, **options)

    method.__name__, method.__doc__ = name, function.__doc__
    setattr(Array, name, method)


def _give_methods() -> None:
    """Gives arrays the methods and operators that NumPy's have."""
    for name in "sum prod mean max min any all var std argmax argmin clip round squeeze take".split():
        _as_method(name, globals()[name])
    _as_method("reshape", lambda a, *shape: reshape(a, shape[0] if len(shape) == 1 else shape))
    _as_method(
        "transpose", lambda a, *axes: permute_dims(a, (axes[0] if len(axes) == 1 and axes else axes) or None)
    )
    _as_method("flatten", lambda a: reshape(a, (-1,)))
    pairs = {
        "add": add, "sub": subtract, "mul": multiply, "truediv": divide, "pow": _power, "matmul": matmul,
        "floordiv": floor_divide, "mod": remainder, "and": logical_and, "or": logical_or, "xor": logical_xor,
    }  # fmt: skip
    for name, function in pairs.items():
        _as_method(f"__{name}__", function)
        _as_method(f"__r{name}__", lambda a, b, function=function: function(b, a))
    compared = {
        "lt": less,
        "gt": greater,
        "le": less_equal,
        "ge": greater_equal,
        "eq": equal,
        "ne": not_equal,
    }
    for name, function in {
        **compared,
        "neg": negative,
        "pos": positive,
        "abs": abs,
        "invert": logical_not,
    }.items():
        _as_method(f"__{name}__", function)


def _power(a: Any, b: Any) -> Array:
    """a ** b; squares and roots as what they are, whose gradients are exact at 0."""
    if not isinstance(b, Array) and np.ndim(b) == 0 and float(b) in (1.0, 2.0, 0.5):
        return {1.0: positive, 2.0: square, 0.5: sqrt}[float(b)](a)
    return pow(a, b)


_give_methods()
