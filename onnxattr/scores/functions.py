"""Python functions as scores: they are called with symbolic arrays, and what they compute becomes part of the graph."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.errors import OnnxAttrError, OperatorError, RuleError
from onnxattr.loading.reading.source import converter
from onnxattr.scores.score import Dims, Function, Score, TargetKind

#: Libraries whose functions take no symbolic arrays.
_TARGETS = "onnxattr_targets"
_FOREIGN = {"tensorflow": "tf", "torch": "torch", "keras": "keras.ops", "jax": "jax.numpy", "scipy": "scipy"}


def score_of_function(function: Callable[..., Any]) -> Score:
    """The score that a function g(f, x, y) of symbolic arrays computes.

    Raises:
        OperatorError: If it does not take three arguments.
    """
    name = getattr(function, "__qualname__", type(function).__name__)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        signature = None
    if signature is not None:
        try:
            signature.bind(None, None, None)
        except TypeError as error:
            raise OperatorError(
                f"operator={name}{signature}: expected a function of three arguments, operator(f, x, y): the model, "
                "the inputs and the targets."
            ) from error
    declared = getattr(function, _TARGETS, None)
    return Score(name, functools.partial(_called, function, name), declared, _source(function))


def targets(*sizes: int | str | None, dtype: Any = None) -> Callable[[Function], Function]:
    """Says what the y of an operator is, where it is not of the shape and type of the model's output.

    Args:
        *sizes: The sizes of y after the axis of samples; None or a name for one that may be anything. None at all: y is
            (N,).
        dtype: The type; that of the model's output unless given.

    Returns:
        A decorator for the function.
    """
    kind = None if dtype is None else ir.DataType.from_numpy(np.dtype(dtype))

    def declared(dims: Dims, real: ir.DataType) -> TargetKind:
        return TargetKind(list(sizes), kind or real, labels=False, what="targets", own_sizes=True)

    def decorate(function: Function) -> Function:
        setattr(function, _TARGETS, declared)
        return function

    return decorate


def _called(function: Callable[..., Any], name: str, f: Any, x: Any, y: Any) -> Any:
    try:
        return function(f, x, y)
    except RuleError as error:
        raise OperatorError(
            f"The operator {name} computes with shapes or types that do not fit: {error}"
        ) from error
    except OnnxAttrError as error:
        if _foreign(error) is not None:
            return _by_tensorflow(function, name, error, f, x, y)
        raise type(error)(str(error).replace("The operator", f"The operator {name}", 1)) from error
    except Exception as error:
        return _by_tensorflow(function, name, error, f, x, y)


def _by_tensorflow(function: Callable[..., Any], name: str, error: Exception, f: Any, x: Any, y: Any) -> Any:
    """What a function of TensorFlow's operations computes, converted; for other functions the error is raised."""
    if _foreign(error) not in ("tensorflow", "keras"):
        raise OperatorError(_why(name, error)) from error
    traced = converter("keras.tensorflow_operator").traced

    try:
        return traced(function, f, x, y)
    except Exception as other:
        reason = " ".join(str(other).split())[:300]
        raise OperatorError(
            f"{_why(name, error)} It could not be converted: {type(other).__name__}: {reason}"
        ) from other


def _why(name: str, error: Exception) -> str:
    """What to say of an error in the function: most come from another library's functions."""
    foreign = _foreign(error)
    if foreign is not None:
        return (
            f"The operator {name} calls {foreign}, whose functions compute numbers and cannot be traced: write it with "
            "the methods and operators of the arrays, as in (f(x) * y).sum(axis=-1), and the functions of onnxattr.xp "
            f"in place of {_FOREIGN[foreign]}'s."
        )
    reason = " ".join(str(error).split())[:300]
    frames = [
        (frame.f_globals.get("__name__", ""), line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    line = next(
        (line for module, line in reversed(frames) if not module.startswith("onnxattr.")), frames[-1][1]
    )
    usual = (
        " Arrays have NumPy's methods, such as sum(axis=1) and reshape((-1, 4))."
        if isinstance(error, (TypeError, AttributeError))
        else ""
    )
    return f"The operator {name} failed while it was traced, in line {line}: {type(error).__name__}: {reason}.{usual}"


def _foreign(error: Exception) -> str | None:
    """The library whose function an error comes from, if it is one that takes no symbolic arrays."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return next((package for m in modules if (package := m.split(".")[0]) in _FOREIGN), None)


def _source(function: Any) -> str:
    """The function's text, where there is one."""
    try:
        return inspect.getsource(function).strip()
    except (OSError, TypeError):
        return ""
