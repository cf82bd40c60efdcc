"""TensorFlow graphs in numbers that ONNX takes: real parts for complex numbers, float32 for bfloat16."""
