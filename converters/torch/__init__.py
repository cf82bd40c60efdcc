"""PyTorch modules to ONNX."""

from onnxattr.converters.torch.convert import to_onnx

__all__ = ["to_onnx"]
