"""Linear classifiers: the function from their scores to probabilities, which skl2onnx guesses from their settings."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np

_CLOSE = 1e-6
_ROWS = 16


@contextlib.contextmanager
def as_they_are() -> Iterator[None]:
    """Inside the `with` block linear classifiers have the link with which they equal the estimator.

    skl2onnx writes softmax(-z, z), the sigmoid of 2 z, for two classes of LinearDiscriminantAnalysis, and sigmoids
    instead of a softmax for LogisticRegression's solver newton-cholesky.
    """
    import skl2onnx.common._registration as registration

    pool = registration._converter_pool
    names = [name for name in ("SklearnLinearClassifier", "SklearnLogisticRegression") if name in pool]
    changed = {
        name: type(pool[name])(_linked(pool[name]._fct), pool[name].get_allowed_options()) for name in names
    }
    with mock.patch.dict(pool, changed):
        yield


def _linked(write: Callable[..., None]) -> Callable[..., None]:
    def convert(scope: Any, operator: Any, container: Any) -> None:
        before = len(container.nodes)
        write(scope, operator, container)
        for node in container.nodes[before:]:
            for attribute in node.attribute if node.op_type == "LinearClassifier" else ():
                if attribute.name == "post_transform" and attribute.s != b"NONE":
                    attribute.s = link_of(operator.raw_operator, attribute.s)

    return convert


def link_of(classifier: Any, first: bytes) -> bytes:
    """The link of a classifier: `first` where that or none of them gives its probabilities.

    They are compared at rows whose scores are small, where the functions differ.
    """
    coefficients, intercepts = np.atleast_2d(classifier.coef_), np.atleast_1d(classifier.intercept_)
    wanted = np.random.default_rng(0).normal(size=(_ROWS, len(coefficients)))
    rows = (wanted - intercepts) @ np.linalg.pinv(coefficients).T
    scores = classifier.decision_function(rows)
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    expected = classifier.predict_proba(rows)
    kinds = {b"LOGISTIC": 1 / (1 + np.exp(-scores)), b"SOFTMAX": np.exp(scores)}
    for link in (first, *kinds):
        shares = kinds[link] / kinds[link].sum(axis=1, keepdims=True)
        if np.abs(shares - expected).max() <= _CLOSE:
            return link
    return first
