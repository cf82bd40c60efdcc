"""Keras models to ONNX."""

from .convert import to_onnx

__all__ = ["to_onnx"]
