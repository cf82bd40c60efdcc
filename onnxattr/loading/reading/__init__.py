"""The way in: a file or an object is read, checked as protobuf, and handed on as an onnx_ir model."""
