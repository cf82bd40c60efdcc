"""What ONNX says of a graph, and nodes written into one; knows no gradient."""
