"""Functions of numbers, as FunctionTransformer and transformed targets call them, written by calling them once."""

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxattr.errors import ConversionError

from .writing import Value, Writer

_OPERATORS = {
    "absolute": "Abs", "add": "Add", "arccos": "Acos", "arccosh": "Acosh", "arcsin": "Asin", "arcsinh": "Asinh",
    "arctan": "Atan", "arctanh": "Atanh", "ceil": "Ceil", "cos": "Cos", "cosh": "Cosh", "divide": "Div", "erf": "Erf",
    "exp": "Exp", "expit": "Sigmoid", "fabs": "Abs", "floor": "Floor", "log": "Log", "maximum": "Max", "minimum": "Min",
    "multiply": "Mul", "negative": "Neg", "positive": "Identity", "power": "Pow", "reciprocal": "Reciprocal",
    "rint": "Round", "sign": "Sign", "sin": "Sin", "sinh": "Sinh", "sqrt": "Sqrt", "subtract": "Sub", "tan": "Tan",
    "tanh": "Tanh",
}  # fmt: skip


def _times(factor: float) -> Callable[[Writer, Value], str]:
    return lambda op, x: op("Mul", x, factor)


def _expm1(op: Writer, x: Value) -> str:
    """exp(x) - 1, which is tanh(x / 2) (exp(x) + 1) and has all digits as that where x is small."""
    powers = op("Exp", x)
    near = op("Mul", op("Tanh", op("Mul", x, 0.5)), op("Add", powers, 1.0))
    return op("Where", op("Less", op("Abs", x), 1.0), near, op("Sub", powers, 1.0))


def _log1p(op: Writer, x: Value) -> str:
    """log(1 + x), which is 2 artanh(x / (x + 2)) and has all digits as that where x is small."""
    far = op("Log", op("Add", x, 1.0))
    if op.of_doubles:  # of which ONNX Runtime has no Atanh, and which have digits enough
        return far
    near = op("Mul", op("Atanh", op("Div", x, op("Add", x, 2.0))), 2.0)
    return op("Where", op("Less", op("Abs", x), 0.5), near, far)


_COMPOSED: dict[str, Callable[[Writer, Value], str]] = {
    "deg2rad": _times(np.pi / 180),
    "radians": _times(np.pi / 180),
    "rad2deg": _times(180 / np.pi),
    "degrees": _times(180 / np.pi),
    "cbrt": lambda op, x: op("Mul", op("Sign", x), op("Pow", op("Abs", x), 1 / 3)),
    "exp2": lambda op, x: op("Exp", op("Mul", x, np.log(2))),
    "exp10": lambda op, x: op("Exp", op("Mul", x, np.log(10))),
    "expm1": _expm1,
    "log1p": _log1p,
    "log2": lambda op, x: op("Div", op("Log", x), np.log(2)),
    "log10": lambda op, x: op("Div", op("Log", x), np.log(10)),
    "logit": lambda op, x: op("Log", op("Div", x, op("Sub", 1.0, x))),
    "square": lambda op, x: op("Mul", x, x),
}


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """Stands for the numbers of a function's argument: NumPy's functions of it add nodes to the graph."""

    def __init__(self, op: Writer, name: str) -> None:
        self.op, self.name = op, name

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **settings: Any) -> "Traced":
        known = function.__name__ in _OPERATORS or function.__name__ in _COMPOSED
        if method != "__call__" or settings or not known:
            raise TypeError(f"{function.__name__} has no ONNX form here")
        values = [self._value(one) for one in inputs]
        if function.__name__ in _OPERATORS:
            return Traced(self.op, self.op(_OPERATORS[function.__name__], *values))
        return Traced(self.op, _COMPOSED[function.__name__](self.op, *values))

    def __array_function__(self, function: Any, types: Any, inputs: Any, settings: Any) -> "Traced":
        if function is not np.clip:
            raise TypeError(f"{function.__name__} has no ONNX form here")
        return self.clip(*inputs[1:], **settings)

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("it makes an array of its argument")

    def clip(self, low: Any = None, high: Any = None, **named: Any) -> "Traced":
        """The number, or the limit next to it; the limits may have the names that NumPy gives them."""
        low = named.pop("a_min", named.pop("min", low))
        high = named.pop("a_max", named.pop("max", high))
        if named:
            raise TypeError(f"clip with {', '.join(named)} has no ONNX form here")
        name = self.name
        for op_type, limit in (("Max", low), ("Min", high)):
            name = name if limit is None else self.op(op_type, name, self._value(limit))
        return Traced(self.op, name)

    def _value(self, value: Any) -> Value:
        return value.name if isinstance(value, Traced) else np.asarray(value, np.float64)


def apply_function(op: Writer, function: Any, arguments: dict[str, Any] | None, x: str, advice: str) -> str:
    """What a function makes of x, written by calling it; x itself where there is none.

    Raises:
        ConversionError: It does something that is not known here; the message ends in the advice.
    """
    if function is None:
        return x
    try:
        result = function(Traced(op, x), **(arguments or {}))
        if not isinstance(result, Traced):
            raise TypeError(f"it returns {type(result).__name__}")
    except Exception as error:
        known = ", ".join(sorted({*_OPERATORS, *_COMPOSED, "clip"}))
        raise ConversionError(
            f"{type(op.estimator).__name__} calls {getattr(function, '__name__', function)!r}, which has no ONNX form "
            f"here ({error}). Functions made of arithmetic and these have one: {known}. {advice}"
        ) from error
    return result.name
