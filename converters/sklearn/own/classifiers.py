"""Classifiers: probabilities, and the class that has the largest one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .kernels import distances
from .writing import Writer


def nearest_centroid(op: Writer) -> tuple[str, str]:
    """p = softmax(2 log prior - d), d the squared distance from a centre in deviations within classes.

    The label is by p, or by plain distances where the classes are of one prior.
    """
    model, op = op.estimator, op.in_doubles()
    spread = np.where(model.within_class_std_dev_ == 0, 1, model.within_class_std_dev_)
    far = distances(op, op("Div", op.x, spread), model.centroids_ / spread)
    shares = op("Softmax", op("Sub", 2 * np.log(model.class_prior_), far), axis=1)
    if not np.isclose(model.class_prior_, 1 / len(model.classes_)).all():
        return shares, shares
    return shares, op("Neg", distances(op, op.x, model.centroids_))


def labels(op: Writer, scores: Any) -> str:
    """The class of the largest score."""
    classes = np.asarray(op.estimator.classes_)
    place = op("ArgMax", scores, axis=1, keepdims=0)
    if classes.dtype.kind in "biuf":
        return op("Gather", classes.astype(np.int64), place)
    texts = [str(one).encode() for one in classes]
    places = list(range(len(classes)))
    return op(
        "LabelEncoder", place, op_domain="ai.onnx.ml", op_version=2, keys_int64s=places, values_strings=texts
    )


def conversions() -> dict[type, Callable[[Writer], tuple[str, str]]]:
    """How the probabilities of each of these are written, and the scores that decide the label."""
    from sklearn.neighbors import NearestCentroid

    return {NearestCentroid: nearest_centroid}
