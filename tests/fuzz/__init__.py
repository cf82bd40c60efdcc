"""Random ONNX models with checks of everything that holds for any model."""
