"""A table with named columns, and a pipeline fitted on it."""

from functools import cache

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from onnxattr.inputs.csv_rows import Table

pytest.importorskip("skl2onnx")
from onnxattr.converters.sklearn import to_onnx

NAMES = ["age", "height", "weight", "pulse"]
DATA = np.random.default_rng(0).normal(size=(40, 4)) * [10, 1, 5, 3] + [40, 2, 70, 60]
CLASSES = (DATA @ [0.1, -1, 0.05, 0.02] > 6.6).astype(int)
ORDER = [2, 0, 3, 1]
PIPELINE = make_pipeline(StandardScaler(), LogisticRegression())


@cache
def table_model():
    """A pipeline that was fitted on an array and converted with a table."""
    return to_onnx(PIPELINE.fit(DATA, CLASSES), Table(NAMES, DATA))
