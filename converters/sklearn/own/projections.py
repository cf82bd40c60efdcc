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
    from sklearn.cluster import BisectingKMeans, FeatureAgglomeration, KMeans, MiniBatchKMeans
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
        **dict.fromkeys(selectors, selected),
        **dict.fromkeys((KMeans, MiniBatchKMeans, BisectingKMeans), from_centres),
    }
