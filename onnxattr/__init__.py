"""Attribution methods as ONNX graphs: explanations that run wherever ONNX Runtime runs."""
