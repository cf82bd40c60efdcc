"""Numeric checks of gradients, and onnx's evaluator as they need it."""

from onnxattr.testing.check import check_vjp
from onnxattr.testing.double import as_double
from onnxattr.testing.evaluator import CORRECTED

__all__ = ["CORRECTED", "as_double", "check_vjp"]
