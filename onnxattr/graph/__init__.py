"""What can be known of a graph before it runs, and arithmetic that uses it; knows ONNX, knows no gradient."""
