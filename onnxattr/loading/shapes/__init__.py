"""Inference of the types and shapes of all values, around that of onnx."""
