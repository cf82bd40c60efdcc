"""Networks that predict numbers: of several targets side by side, and with the exponential of a Poisson loss."""

from collections.abc import Callable

import numpy as np

from .writing import Writer

_ACTIVATIONS = {"logistic": "Sigmoid", "relu": "Relu", "tanh": "Tanh", "exp": "Exp"}


def regressor(op: Writer) -> str:
    """y = f(h w + b) behind the hidden layers h = a(x w + b)."""
    model, x = op.estimator, op.x
    kinds = [model.activation] * (len(model.coefs_) - 1) + [model.out_activation_]
    for weights, bias, kind in zip(model.coefs_, model.intercepts_, kinds, strict=True):
        x = op("Add", op("MatMul", x, weights), np.asarray(bias))
        if kind != "identity":
            x = op(_ACTIVATIONS[kind], x)
    return x


def conversions() -> dict[type, Callable[[Writer], str]]:
    """How each of these is written."""
    from sklearn.neural_network import MLPRegressor

    return {MLPRegressor: regressor}
