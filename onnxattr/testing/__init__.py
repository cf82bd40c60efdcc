"""Numeric checks of gradients, and onnx's evaluator as they need it."""

from onnxattr.testing.check import check_vjp

__all__ = ["check_vjp"]
