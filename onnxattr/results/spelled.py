"""Calls as text, for ``repr``: the name of a class, the model, parameters by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

#: Longest text of one value.
_LONGEST = 80
#: Most entries of a dict that are told.
_MOST = 12


def call(name: str, parameters: Mapping[str, Any], *first: str) -> str:
    """A call such as ``Saliency('model.onnx', reducer='max')``.

    Args:
        name: What is called.
        parameters: Its arguments by name; arrays and tables are told by shape and dtype.
        first: Texts of arguments that have no name.
    """
    return f"{name}({', '.join([*first, *(f'{key}={_value(value)}' for key, value in parameters.items())])})"


def said(parameters: Mapping[str, Any], left_out: Iterable[str] = ()) -> dict[str, Any]:
    """The parameters that say something: all but those that are None."""
    unsaid = set(left_out)
    return {name: value for name, value in parameters.items() if value is not None and name not in unsaid}


def _value(value: Any) -> str:
    if isinstance(value, (np.ndarray, np.generic)) and value.ndim == 0:
        return repr(value.item())
    if isinstance(value, np.ndarray) or (hasattr(value, "shape") and hasattr(value, "dtype")):
        return f"<array {tuple(value.shape)} {value.dtype}>"
    if hasattr(value, "columns") and hasattr(value, "shape"):
        return f"<table {tuple(value.shape)}>"
    if isinstance(value, Mapping) and {"shape", "dtype", "sha256"} <= value.keys():
        return f"<array {tuple(value['shape'])} {value['dtype']}>"
    if isinstance(value, Mapping) and value.keys() == {"method", "parameters"}:
        return call(value["method"], said(value["parameters"]))  # the method inside a noise tunnel
    if callable(value):
        return str(getattr(value, "__qualname__", type(value).__name__))
    if isinstance(value, Mapping) and len(value) > _MOST:
        return f"<{len(value)} entries>"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_value(entry)}' for key, entry in value.items())}}}"
    if (
        getattr(type(value), "__repr__", None) == object.__repr__
    ):  # it holds an address, which the next process has not
        return f"<{type(value).__name__}>"
    text = repr(str(value)) if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
