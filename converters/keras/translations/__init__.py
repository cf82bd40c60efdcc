"""ONNX forms of operators of TensorFlow that tf2onnx does not know, or converts to others than it should."""
