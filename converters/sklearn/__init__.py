"""scikit-learn estimators to ONNX."""

from onnxattr.converters.sklearn.convert import to_onnx

__all__ = ["to_onnx"]
