"""Imports onnx_ir without sympy, half of its import time, which only arithmetic on symbolic sizes needs.

sympy, and the module of onnx_ir that reads its expressions, are imported when something of them is looked up.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_PUT_OFF = ("sympy", "onnx_ir._symbolic_shapes")


class _LookedUp(ModuleType):
    """Stands for a module in the modules that import it, and imports it when something is looked up in it."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def import_without_sympy() -> None:
    """Imports onnx_ir; as usual if it, or sympy, has been imported.

    What stands for sympy is known to onnx_ir alone: others that import sympy get sympy.
    """
    if "onnx_ir" in sys.modules or "sympy" in sys.modules:
        return
    put_off = {name: _LookedUp(name) for name in _PUT_OFF}
    sys.modules.update(put_off)
    try:
        importlib.import_module("onnx_ir")
    finally:
        for name, module in put_off.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


import_without_sympy()
