"""Transformers that are one matrix, and distances from centres."""

from collections.abc import Callable

import numpy as np

from onnxattr.errors import ConversionError

from .kernels import distances
from .writing import Writer


def affine(op: Writer) -> str:
    """y = (x - m) w + b; w and b are what the estimator makes of unit vectors around its mean m."""
    model = op.estimator
    count = model.n_features_in_
    mean = np.asarray(getattr(model, "mean_", np.zeros(count)), np.float64)
    bias = model.transform(mean[None])
    weights = model.transform(mean + np.eye(count)) - bias
    return op("Add", op("MatMul", op("Sub", op.x, mean), weights), bias)


def feature_agglomeration(op: Writer) -> str:
    """y = the means of groups of features."""
    if op.estimator.pooling_func is not np.mean:
        raise ConversionError(
            f"FeatureAgglomeration pools with {getattr(op.estimator.pooling_func, '__name__', 'a function')}; "
            "supported: numpy.mean."
        )
    return affine(op)


def hidden_units(op: Writer) -> str:
    """y = sigmoid(x w' + b)."""
    model = op.estimator
    return op("Sigmoid", op("Add", op("MatMul", op.x, model.components_.T), model.intercept_hidden_))


def from_centres(op: Writer) -> str:
    """y = |x - centre|, one number for each centre."""
    return op("Sqrt", distances(op, op.x, op.estimator.cluster_centers_))


def from_subclusters(op: Writer) -> str:
    """y = |x - centre|, one number for each subcluster of a Birch."""
    return op("Sqrt", distances(op, op.x, op.estimator.subcluster_centers_))


def least_squares(op: Writer) -> str:
    """y = (x - m) w + b, the targets that canonical components predict."""
    model, op = op.estimator, op.in_doubles()
    centred = op("Sub", op.x, model._x_mean)
    return op("Add", op("MatMul", centred, model.coef_.T), np.asarray(model.intercept_, np.float64))


def within_ellipse(op: Writer) -> str:
    """y = -(x - m) P (x - m)' - o, (N, 1): how far inside, as the covariance 1 / P has it."""
    model, op = op.estimator, op.in_doubles()
    away = op("Sub", op.x, model.location_)
    squares = op("Mul", op("MatMul", away, model.get_precision()), away)
    return op("Sub", op("Neg", op("ReduceSum", squares, np.array([1]), keepdims=1)), float(model.offset_))


def selected(op: Writer) -> str:
    """y = some features of x."""
    chosen = op.estimator.get_support(indices=True)
    if not len(chosen):
        raise ConversionError(
            f"{type(op.estimator).__name__} selects no feature, so nothing is left to explain. Ask for some: another "
            "threshold, or SelectKBest."
        )
    return op("Gather", op.x, chosen, axis=1)


def conversions() -> dict[type, Callable[[Writer], str]]:
    """How each of these is written."""
    from sklearn import feature_selection
    from sklearn.cluster import Birch, BisectingKMeans, FeatureAgglomeration, KMeans, MiniBatchKMeans
    from sklearn.covariance import EllipticEnvelope
    from sklearn.cross_decomposition import CCA, PLSCanonical
    from sklearn.decomposition import FactorAnalysis, FastICA, MiniBatchSparsePCA, SparsePCA
    from sklearn.neural_network import BernoulliRBM
    from sklearn.random_projection import SparseRandomProjection

    kinds = [getattr(feature_selection, name) for name in feature_selection.__all__]
    selectors = [kind for kind in kinds if isinstance(kind, type) and hasattr(kind, "get_support")]
    return {
        **dict.fromkeys(
            (FactorAnalysis, FastICA, SparsePCA, MiniBatchSparsePCA, SparseRandomProjection), affine
        ),
        FeatureAgglomeration: feature_agglomeration,
        BernoulliRBM: hidden_units,
        Birch: from_subclusters,
        **dict.fromkeys((CCA, PLSCanonical), least_squares),
        EllipticEnvelope: within_ellipse,
        **dict.fromkeys(selectors, selected),
        **dict.fromkeys((KMeans, MiniBatchKMeans, BisectingKMeans), from_centres),
    }
