"""Rows of the ai.onnx.ml operators, which are written out in ai.onnx; the forward pass is ONNX Runtime's own kernel."""

import numpy as np

from support.rule_cases import case, const, feed, x

RNG = np.random.default_rng(7)
W = RNG.normal(size=12).round(3).tolist()
B = [0.3, -0.2, 0.1]
SUPPORTS = RNG.normal(size=20).round(3).tolist()
MISSING = feed([[1.0, np.nan, 2.0], [np.nan, 0.5, 3.0]], np.float32)


def ml(op, *operands, **settings):
    return case(f"ai.onnx.ml::{op}", *operands, **settings)


def svm(kernel, *params, **settings):
    kernels = {"kernel_type": kernel, "kernel_params": list(params)} if params else {}
    settings = {"coefficients": W[:5], "rho": [0.2], "n_supports": 5} | settings
    settings |= {"support_vectors": SUPPORTS} if settings["n_supports"] else {}
    return ml("SVMRegressor", x(3, 4), **kernels, **settings)


def classifier(*counts, classes=0, kernel="RBF", **settings):
    """A support vector classifier with so many vectors of each class."""
    total, classes = sum(counts), classes or len(counts)
    settings |= (
        {"support_vectors": RNG.normal(size=total * 4).round(2).tolist(), "vectors_per_class": counts}
        if total
        else {}
    )
    size = (classes - 1) * total or classes * 4
    pairs = classes * (classes - 1) // 2 if total else 1
    settings |= {
        "coefficients": RNG.normal(size=size).round(2).tolist(),
        "rho": RNG.normal(size=pairs).round(2).tolist(),
    }
    settings |= {
        "classlabels_ints": [4, 7, 9, 2][:classes],
        "kernel_type": kernel,
        "kernel_params": [0.3, 0.1, 2.0],
    }
    return ml("SVMClassifier", x(6, 4), outputs="if", **settings)


PLATT = {"prob_a": [-1.2, -0.8, -1.5, -2.0, -1.1, -0.7], "prob_b": [0.1, -0.2, 0.3, 0.0, -0.1, 0.2]}
ONE_PLATT = {"prob_a": [-1.2], "prob_b": [0.1]}
#: Weights whose scores lie between 0 and 1.
SMALL = {"coefficients": [w / 100 for w in W], "intercepts": [0.3, 0.8, 0.6]}

CASES = [
    ml("LinearRegressor", x(5, 4), coefficients=W[:4], intercepts=[0.5]),
    ml("LinearRegressor", x(5, 4), coefficients=W, intercepts=B, targets=3),
    ml("LinearRegressor", x(5, 4), coefficients=W[:4], intercepts=B),
    ml("LinearRegressor", x(5, 4), coefficients=W, intercepts=[0.5], targets=3),
    ml("LinearRegressor", x(5, 4), coefficients=W, intercepts=B[:2], targets=3),
    ml("LinearRegressor", x(5, 4), coefficients=W[:4], post_transform="LOGISTIC"),
    ml("LinearRegressor", x(5, 4), coefficients=W, targets=3, post_transform="LOGISTIC"),
    *(
        ml("LinearClassifier", x(5, 4), coefficients=W, intercepts=B, classlabels_ints=[4, 7, 9],
           post_transform=kind, outputs="if")
        for kind in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO")
    ),
    ml("LinearClassifier", x(5, 4), **SMALL, classlabels_ints=[4, 7, 9], post_transform="PROBIT", outputs="if"),
    ml("LinearRegressor", x(5, 4), coefficients=SMALL["coefficients"][:4], intercepts=[0.4], post_transform="PROBIT"),
    ml("LinearRegressor", x(5, 4), **SMALL, targets=3, post_transform="PROBIT"),
    *(
        ml("LinearClassifier", x(5, 4), coefficients=W[:4], intercepts=[0.5], classlabels_ints=[4, 7],
           post_transform=kind, outputs="if")
        for kind in ("NONE", "LOGISTIC", "SOFTMAX")
    ),
    svm("LINEAR", 0.0, 0.0, 0.0),
    svm("RBF", 0.3, 0.0, 3.0),
    svm("SIGMOID", 0.2, 0.4, 3.0),
    svm("POLY", 0.3, 0.5, 3.0),
    svm("LINEAR", 0.0, 0.0, 0.0, n_supports=0, coefficients=W[:4]),
    svm("RBF", 0.3, 0.0, 3.0, post_transform="LOGISTIC"),
    *(classifier(2, 1, 3, kernel=kernel) for kernel in ("RBF", "LINEAR", "POLY", "SIGMOID")),
    *(classifier(2, 1, 3, post_transform=kind) for kind in ("LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO")),
    *(classifier(2, 2, post_transform=kind) for kind in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO")),
    *(classifier(2, 2, **ONE_PLATT, post_transform=kind) for kind in ("NONE", "PROBIT")),
    classifier(2, 1, 1, 2, **PLATT, post_transform="SOFTMAX"),
    *(classifier(classes=count, kernel="LINEAR", post_transform="LOGISTIC") for count in (2, 3)),
    ml("Scaler", x(5, 3), offset=[0.1, 0.2, 0.3], scale=[2.0, 0.5, 1.5]),
    ml("Scaler", x(5, 3), offset=[0.1], scale=[2.0]),
    *(ml("Normalizer", x(5, 3, low=0.3), norm=norm) for norm in ("MAX", "L1", "L2")),
    ml("Normalizer", x(5, 3), norm="L1", label="signs"),
    ml("Normalizer", x(5, 3), norm="L2", label="signs"),
    ml("Imputer", x(5, 3), imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=float("nan")),
    ml("Imputer", MISSING, imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=float("nan")),
    ml("FeatureVectorizer", x(5, 3), x(5, 2), inputdimensions=[3, 2]),
    ml("FeatureVectorizer", x(5, 3), x(5, 2), inputdimensions=[2, 4]),
    ml("ArrayFeatureExtractor", x(5, 3), const([2, 0, 2])),
    ml("Binarizer", x(5, 3), threshold=0.4),
    ml("Imputer", MISSING, imputed_value_floats=[1.0, 2.0], replaced_value_float=float("nan")),
    ml("OneHotEncoder", x(5, 3), cats_int64s=[-1, 0, 1]),
    ml("OneHotEncoder", x(5, 3), cats_int64s=[0, -1, 0, 1]),
]  # fmt: skip
