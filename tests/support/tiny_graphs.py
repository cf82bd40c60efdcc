"""Models written as text, and their runs, for the tests of the reverse sweep."""

import numpy as np
import onnx
import onnxruntime

X = np.array([[-1.0, 2.0, 0.5], [3.0, -0.25, 1.5]], np.float32)
CT = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]], np.float32)


def parse(text: str, opset: int = 18) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {text}')


def run(model: onnx.ModelProto, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))
