"""Numeric checks of gradients, and onnx's evaluator as they need it."""

from onnxattr.testing.check import check_vjp
from onnxattr.testing.double import as_double
from onnxattr.testing.evaluator import CORRECTED
from onnxattr.testing.model_check import check_model
from onnxattr.testing.verdicts import ModelCheck

__all__ = ["CORRECTED", "ModelCheck", "as_double", "check_model", "check_vjp"]
