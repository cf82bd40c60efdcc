"""Uses an installed onnxattr where its source tree is not: run by ``check.py`` in a fresh environment."""

import importlib
import importlib.metadata
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import onnxattr
from onnxattr import IntegratedGradients

MODEL = """<ir_version: 8, opset_import: ["": 18]> m (float[N,3] x) => (float[N,2] y)
    <float[3,2] w = {1, -2, 0.5, 3, -1, 0.25}> { square = Mul(x, x) y = MatMul(square, w) }"""
WEIGHTS = np.array([[1, -2], [0.5, 3], [-1, 0.25]], np.float32)
X = np.array([[1, 2, -3], [0.5, -1, 0.25]], np.float32)


def import_everything() -> int:
    """Imports each module but those that need a framework which is not installed, and counts them."""
    names = [module.name for module in pkgutil.walk_packages(onnxattr.__path__, "onnxattr.", onerror=print)]
    for name in names:
        if not name.startswith("onnxattr.converters."):
            importlib.import_module(name)
    return len(names)


def command(*arguments: str) -> str:
    """What the installed command prints."""
    script = Path(sys.executable).with_name("onnxattr")
    return subprocess.run([script, *arguments], capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Explains, exports, runs, and asks the command line."""
    assert Path(sys.prefix).resolve() in Path(onnxattr.__file__).resolve().parents, onnxattr.__file__
    onnx.save(onnx.parser.parse_model(MODEL), "model.onnx")
    np.save("x.npy", X)
    labels = np.array([0, 1])
    # The path from 0 to x of a square: x_i^2 w_i, to the rounding of float32.
    expected = X**2 * WEIGHTS[:, labels].T
    method = IntegratedGradients("model.onnx", steps=20)
    np.testing.assert_allclose(method.explain(X, labels), expected, rtol=1e-5)
    method.export("explainer.onnx")
    session = onnxruntime.InferenceSession("explainer.onnx", providers=["CPUExecutionProvider"])
    prediction, maps = session.run(["prediction", "attribution"], {"x": X, "target": labels})
    np.testing.assert_allclose(prediction, X**2 @ WEIGHTS, rtol=1e-5)
    np.testing.assert_allclose(maps, expected, rtol=1e-5)
    command("explain", "model.onnx", "x.npy", "--method", "IntegratedGradients", "-o", "maps.npy")
    predicted = (X**2 @ WEIGHTS).argmax(axis=1)
    np.testing.assert_allclose(np.load("maps.npy"), X**2 * WEIGHTS[:, predicted].T, rtol=1e-5)
    assert "explain" in command("--help")
    assert "IntegratedGradients" in command("inspect", "explainer.onnx")
    version = importlib.metadata.version("onnxattr")
    print(f"onnxattr {version}, {import_everything()} modules, onnxruntime {onnxruntime.__version__}: works")


main()
