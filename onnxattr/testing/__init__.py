"""Numeric checks of gradients, and onnx's evaluator as they need it."""

from onnxattr.testing.check import as_double, check_vjp
from onnxattr.testing.evaluator import CORRECTED

__all__ = ["CORRECTED", "as_double", "check_vjp"]
