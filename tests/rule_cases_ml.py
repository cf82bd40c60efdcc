"""Rows of the ai.onnx.ml operators, which are written out in ai.onnx; the forward pass is ONNX Runtime's own kernel."""

import numpy as np
from rule_cases import case, const, feed, x

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


CASES = [
    ml("LinearRegressor", x(5, 4), coefficients=W[:4], intercepts=[0.5]),
    ml("LinearRegressor", x(5, 4), coefficients=W, intercepts=B, targets=3),
    ml("LinearRegressor", x(5, 4), coefficients=W[:4], post_transform="LOGISTIC"),
    ml("LinearRegressor", x(5, 4), coefficients=W, targets=3, post_transform="LOGISTIC"),
    *(
        ml("LinearClassifier", x(5, 4), coefficients=W, intercepts=B, classlabels_ints=[4, 7, 9],
           post_transform=kind, outputs="if")
        for kind in ("NONE", "LOGISTIC", "SOFTMAX")
    ),
    *(
        ml("LinearClassifier", x(5, 4), coefficients=W[:4], intercepts=[0.5], classlabels_ints=[4, 7],
           post_transform=kind, outputs="if")
        for kind in ("NONE", "LOGISTIC")
    ),
    svm("LINEAR", 0.0, 0.0, 0.0),
    svm("RBF", 0.3, 0.0, 3.0),
    svm("SIGMOID", 0.2, 0.4, 3.0),
    svm("POLY", 0.3, 0.5, 3.0),
    svm("LINEAR", 0.0, 0.0, 0.0, n_supports=0, coefficients=W[:4]),
    ml("Scaler", x(5, 3), offset=[0.1, 0.2, 0.3], scale=[2.0, 0.5, 1.5]),
    ml("Scaler", x(5, 3), offset=[0.1], scale=[2.0]),
    *(ml("Normalizer", x(5, 3, low=0.3), norm=norm) for norm in ("MAX", "L1", "L2")),
    ml("Normalizer", x(5, 3), norm="L1", label="signs"),
    ml("Normalizer", x(5, 3), norm="L2", label="signs"),
    ml("Imputer", x(5, 3), imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=float("nan")),
    ml("Imputer", MISSING, imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=float("nan")),
    ml("FeatureVectorizer", x(5, 3), x(5, 2), inputdimensions=[3, 2]),
    ml("ArrayFeatureExtractor", x(5, 3), const([2, 0, 2])),
    ml("Binarizer", x(5, 3), threshold=0.4),
]  # fmt: skip
