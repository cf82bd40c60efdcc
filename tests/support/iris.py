"""Rows and classes of a flower data set, and the parameters of a small network."""

import pytest

pytest.importorskip("skl2onnx", reason="skl2onnx is not installed: pip install 'onnxattr[sklearn]'")

from sklearn.datasets import load_iris

IRIS, KINDS = load_iris(return_X_y=True)
SMALL_NETWORK = {"hidden_layer_sizes": (16, 8), "max_iter": 60, "random_state": 0, "activation": "tanh"}
