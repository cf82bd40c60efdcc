"""Models written as text, and their runs, for the tests of the reverse sweep."""

import numpy as np
import onnx
import onnxruntime

X = np.array([[-1.0, 2.0, 0.5], [3.0, -0.25, 1.5]], np.float32)
CT = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]], np.float32)


def parse(text: str, opset: int = 18, ir_version: int = 8, domains: str = "") -> onnx.ModelProto:
    """A model written as text; ``domains`` are other domains that it imports, at version 1."""
    imports = ", ".join([f'"": {opset}', *(f'"{domain}": 1' for domain in domains.split())])
    return onnx.parser.parse_model(f"<ir_version: {ir_version}, opset_import: [{imports}]> {text}")


def run(model: onnx.ModelProto, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))
