"""Warnings that name the code which called this package."""

from __future__ import annotations

import inspect
import warnings


def warn_caller(text: str) -> None:
    """Warns at the first code outside of this package, however deep the call is inside."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "onnxattr":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)
