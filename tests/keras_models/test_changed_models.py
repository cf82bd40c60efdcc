"""Keras models and estimators that change after a method was made of them: explained as they were, and said so."""

import gc
import warnings
import weakref

import numpy as np
import pytest
from sklearn.ensemble import BaggingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

keras = pytest.importorskip("keras")

from onnxattr import IntegratedGradients, NoiseTunnel, Saliency  # noqa: E402

RNG = np.random.default_rng(4)
ROWS = RNG.normal(size=(40, 5)).astype(np.float32)
LABELS = (ROWS[:, 0] + ROWS[:, 1] > 0).astype(int)
L = keras.layers
pytestmark = pytest.mark.filterwarnings(
    "ignore:Stochastic Optimizer", "ignore:The model ends in probabilities"
)


def network():
    layers = [L.Dense(4, activation="tanh"), L.BatchNormalization(), L.Dropout(0.2), L.Dense(1)]
    model = keras.Sequential([keras.Input((5,)), *layers])
    model.compile("sgd", "mse")
    return model


def trained(model):
    model.fit(ROWS, LABELS, epochs=1, verbose=0)


def fitted_again(estimator):
    estimator.fit(ROWS[10:], LABELS[10:])


CASES = {
    "keras, training": (network, trained),
    "keras, one weight": (network, lambda m: m.layers[0].kernel.assign_add(np.ones((5, 4)))),
    "keras, statistics alone": (network, lambda m: m.layers[1].moving_mean.assign(np.ones(4))),
    "logistic regression": (LogisticRegression, fitted_again),
    "one more step": (SGDClassifier, lambda e: e.partial_fit(ROWS[:3], LABELS[:3])),
    "a step of a pipeline": (
        lambda: make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(3,))),
        fitted_again,
    ),
    "members": (
        lambda: BaggingRegressor(MLPRegressor(hidden_layer_sizes=(2,), max_iter=20), n_estimators=3),
        fitted_again,
    ),
    "kept samples": (GaussianProcessRegressor, fitted_again),
    "by hand": (LogisticRegression, lambda e: setattr(e, "intercept_", e.intercept_ + 1)),
}


def made(case):
    make, change = CASES[case]
    model = make()
    if not isinstance(model, keras.Model):
        model.fit(ROWS[:30], LABELS[:30])
    return model, change, None if isinstance(model, keras.Model) else ROWS[:2]


def warned(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = call()
    found = [w for w in caught if "has changed since" in str(w.message)]
    assert all(w.filename == __file__ for w in found)
    return len(found), value


@pytest.mark.parametrize("case", CASES)
def test_a_change_is_said_once(case):
    model, change, sample = made(case)
    method = IntegratedGradients(model, steps=3, sample=sample)
    before = method.explain(ROWS[:3])
    predict = getattr(model, "predict_proba", model.predict)
    predict(ROWS[:3])
    assert warned(lambda: method.explain(ROWS[:3]))[0] == 0
    change(model)
    count, after = warned(lambda: method.explain(ROWS[:3]))
    assert count == 1
    np.testing.assert_array_equal(before, after)  # of the model as it was
    assert warned(lambda: method(ROWS[:3]))[0] == 0
    again = IntegratedGradients(model, steps=3, sample=sample)
    assert warned(lambda: again.explain(ROWS[:3]))[0] == 0


CALLS = {
    "predict": lambda method: method.predict(ROWS[:2]),
    "score": lambda method: method.score(ROWS[:2], [0, 0]),
    "export": lambda method: method.explainer(),
    "convergence_delta": lambda method: method.convergence_delta(ROWS[:2]),
    "a tunnel": lambda method: NoiseTunnel(method, nb_samples=2).explain(ROWS[:2]),
}


@pytest.mark.parametrize("call", CALLS)
def test_every_call_says_it(call):
    model = LogisticRegression().fit(ROWS, LABELS)
    method = IntegratedGradients(model, steps=3, sample=ROWS[:2])
    fitted_again(model)
    assert warned(lambda: CALLS[call](method))[0] == 1


def method_alone():
    model = LogisticRegression().fit(ROWS, LABELS)
    return Saliency(model, sample=ROWS[:2]), weakref.ref(model)


def test_models_are_not_kept_alive():
    method, alive = method_alone()
    gc.collect()
    assert alive() is None
    assert warned(lambda: method.explain(ROWS[:2]))[0] == 0
