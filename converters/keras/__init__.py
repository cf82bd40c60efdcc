"""Keras models to ONNX."""

from onnxattr.converters.keras.convert import to_onnx

__all__ = ["to_onnx"]
