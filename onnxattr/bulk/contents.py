"""A digest of what parameters hold: arrays by their numbers, files by their bytes, functions by their code."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from onnxattr.inputs.tensors import plain
from onnxattr.loading.reading.source import digest
from onnxattr.running.explainers.explainer import Explainer
from onnxattr.running.given.frames import columns_of, is_frame

#: What changes no number beyond rounding, or is told elsewhere.
_LEFT_OUT = ("model", "providers", "progress", "check_finite", "verify", "sample")


def contents(method: Any) -> str:
    """A digest that changes with the model or any parameter of a method, however large it is."""
    return hashlib.sha256(_told(method, ()).encode()).hexdigest()


def _told(value: Any, inside: tuple[int, ...]) -> str:
    """A value as text that two values share only if they are the same."""
    if id(value) in inside:
        return "itself"
    inside = (*inside, id(value))
    kind = type(value).__name__
    if isinstance(value, Explainer):
        model = digest(value._proto, value._proto)
        return f"Explainer({model}, {_told(value.baseline, inside)})"
    if hasattr(value, "prepared") and hasattr(value, "explain"):
        names = [name for name in inspect.signature(type(value)).parameters if name not in _LEFT_OUT]
        given = {name: getattr(value, name, None) for name in names}
        return f"{kind}({value.prepared.digest}, {_told(given, inside)})"
    if isinstance(value, (str, os.PathLike)):
        return f"{os.fspath(value)!r}{_of_file(value)}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_told(k, inside)}: {_told(v, inside)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_told(each, inside) for each in value) + "]"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(_told(each, inside) for each in value)) + "}"
    if isinstance(value, types.CodeType):
        parts = [value.co_code, value.co_names, value.co_varnames, list(value.co_consts)]
        return f"code({_told(parts, inside)})"
    if inspect.ismethod(value):
        return _told([value.__func__, value.__self__], inside)
    if inspect.isfunction(value):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return _told([value.__code__, value.__defaults__, value.__kwdefaults__, cells], inside)
    if isinstance(value, functools.partial):
        return _told([value.func, value.args, value.keywords], inside)
    if is_frame(value):
        return f"table({list(map(str, columns_of(value)))}, {_of_array(np.asarray(value))})"
    if hasattr(value, "SerializeToString"):
        return f"{kind}({hashlib.sha256(value.SerializeToString(deterministic=True)).hexdigest()})"
    if hasattr(value, "__array__") and not isinstance(value, np.generic):
        names = list(map(str, getattr(value, "index", ()))) if hasattr(value, "iloc") else []
        return f"array({names}, {_of_array(np.asarray(plain(value)))})"
    if isinstance(value, (type, types.BuiltinFunctionType, types.ModuleType, np.ufunc)):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', kind)}"
    if callable(value) or hasattr(value, "__dict__"):
        return f"{type(value).__module__}.{kind}({_told([type(value).__dict__.get('__call__'), vars(value)], inside)})"
    return f"{kind} {value!r}"


def _of_array(array: np.ndarray) -> str:
    raw = repr(array.tolist()).encode() if array.dtype.hasobject else np.ascontiguousarray(array).tobytes()
    return f"{array.dtype}, {array.shape}, {hashlib.sha256(raw).hexdigest()}"


def _of_file(path: Any) -> str:
    """The digest of a file, where a parameter names one."""
    try:
        with open(path, "rb") as file:
            return f" {hashlib.file_digest(file, 'sha256').hexdigest()}"
    except (OSError, ValueError):
        return ""
