"""Runs Xplique itself, on noise given from outside."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import tensorflow as tf
import xplique.attributions
from xplique.attributions.base import BlackBoxExplainer
from xplique.attributions.gradient_statistics.gradient_statistic import GradientStatistic

from verification.tape import NOISY


@contextmanager
def replaced(owner: type, name: str, function: Callable) -> Iterator[None]:
    """Put `function` in the place of a static method of Xplique for a while."""
    original = owner.__dict__[name]
    setattr(owner, name, staticmethod(function))
    try:
        yield
    finally:
        setattr(owner, name, original)


@contextmanager
def injected_noise(draws: np.ndarray) -> Iterator[None]:
    """Make Xplique's noisy methods use `draws` (nb_samples, N, ...), standard normal, for one `explain`.

    Xplique takes a batch of inputs, then all repetitions of it in chunks, then the next batch; the
    replacement follows that order to know which draws a call is for, and checks that all were used once.
    """
    first_input, first_draw = 0, 0

    def perturb(inputs, nb_perturbations, noise):
        nonlocal first_input, first_draw
        inputs = np.asarray(inputs)
        chunk = draws[first_draw : first_draw + nb_perturbations, first_input : first_input + len(inputs)]
        first_draw += nb_perturbations
        if first_draw == len(draws):
            first_input, first_draw = first_input + len(inputs), 0
        points = inputs[:, None] + np.float32(noise) * np.swapaxes(chunk, 0, 1)
        return tf.constant(points.reshape(-1, *inputs.shape[1:]), tf.float32)

    with replaced(GradientStatistic, "_perturb_samples", perturb):
        yield
    assert (first_input, first_draw) == (draws.shape[1], 0), "Xplique did not use every draw once"


def xplique_explain(model, method, inputs, targets, *, draws=None, **options) -> np.ndarray:
    """Xplique's attribution of a Keras model.

    Args:
        model: Keras model. Xplique ignores `output_layer`: to explain logits, give the model that ends there.
        method: Class name in `xplique.attributions`.
        inputs: (N, ...) float32.
        targets: (N, C).
        draws: (nb_samples, N, ...) standard normal numbers for the noisy methods; the others ignore them.
        **options: Constructor arguments: `batch_size`, `reducer`, `steps`, `noise`, ...

    Returns:
        float32 array, as Xplique shapes it.
    """
    BlackBoxExplainer._cache_models.clear()  # keyed by id() of lists, which Python reuses
    if method in NOISY:
        options["nb_samples"] = len(draws)
    explainer = getattr(xplique.attributions, method)(model, **options)
    with injected_noise(draws) if method in NOISY else nullcontext():
        return explainer.explain(inputs, targets).numpy()
