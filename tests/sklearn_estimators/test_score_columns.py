"""Scores of support vector machines whose columns are not the classes that the model's label names are told."""

import warnings

import numpy as np
import pytest

skl2onnx = pytest.importorskip("skl2onnx")
from sklearn.datasets import load_iris  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.svm import SVC, NuSVC  # noqa: E402
from support.tiny_graphs import run  # noqa: E402

from onnxattr import GradientInput  # noqa: E402

IRIS, KINDS = load_iris(return_X_y=True)
TWO = KINDS > 0
X = IRIS[::30].astype(np.float32)
RAW = {"raw_scores": True}
REVERSED = {
    "decision values": (SVC(), TWO.astype(int), {}),
    "with names": (NuSVC(nu=0.1), np.where(TWO, "wild", "tame"), {}),
    "probabilities turned round": (SVC(probability=True, random_state=0), TWO.astype(int), RAW),
}
IN_ORDER = {
    "probabilities": (SVC(probability=True, random_state=0), TWO.astype(int), {}),
    "decision values turned round": (SVC(), TWO.astype(int), RAW),
    "votes of three classes": (SVC(), KINDS, {}),
    "a linear model": (LogisticRegression(), TWO.astype(int), {}),
}


def written(estimator, classes, options):
    """The fitted estimator as skl2onnx writes it, and what the file gives for X: labels and scores."""
    estimator.fit(IRIS, classes)
    proto = skl2onnx.to_onnx(
        estimator, X[:1], options={id(estimator): {"zipmap": False, **options}}, target_opset=18
    )
    label, scores = run(proto, X=X).values()
    return proto, label, scores


@pytest.mark.parametrize("case", REVERSED)
def test_two_classes_in_the_other_order(case):
    """Label 0 explains the class that the file calls the second, as the warning says."""
    estimator, classes, options = REVERSED[case]
    proto, label, scores = written(estimator, classes, options)
    first, second = estimator.classes_.tolist()
    assert (label == np.where(scores[:, 0] < scores[:, 1], first, second)).all()
    with pytest.warns(UserWarning, match=f"label 0 explains {second!r}, label 1 explains {first!r}"):
        method = GradientInput(proto, reducer=None)
    assert (estimator.classes_[1 - method(X).targets] == label).all()


@pytest.mark.parametrize("case", IN_ORDER)
def test_columns_that_are_classes(case):
    estimator, classes, options = IN_ORDER[case]
    proto, label, _ = written(estimator, classes, options)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*score of|.*columns of")
        method = GradientInput(proto, reducer=None)
    assert (estimator.classes_[method(X).targets] == label).all()


def test_a_column_for_each_pair():
    """Of three classes, label 1 explains class 0 against class 2."""
    estimator = SVC(decision_function_shape="ovo")
    proto, _, scores = written(estimator, KINDS, {})
    np.testing.assert_allclose(scores, estimator.decision_function(X), atol=1e-5)
    with pytest.warns(UserWarning, match="each pair of classes, the first for 0 and 1, 0 and 2, 1 and 2"):
        GradientInput(proto)
    with pytest.warns(UserWarning, match="each pair of classes"):
        GradientInput(estimator, sample=IRIS)
