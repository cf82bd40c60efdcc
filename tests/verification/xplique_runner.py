"""Runs Xplique itself, on noise given from outside."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import tensorflow as tf
import xplique.attributions
from xplique.attributions import IntegratedGradients
from xplique.attributions.base import BlackBoxExplainer
from xplique.attributions.gradient_statistics.gradient_statistic import GradientStatistic

from verification.tape import NOISY, Move, unmoved


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
def injected_noise(draws: np.ndarray, move: Move) -> Iterator[None]:
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
        points = move(inputs[:, None] + np.float32(noise) * np.swapaxes(chunk, 0, 1))
        return tf.constant(points.reshape(-1, *inputs.shape[1:]), tf.float32)

    with replaced(GradientStatistic, "_perturb_samples", perturb):
        yield
    assert (first_input, first_draw) == (draws.shape[1], 0), "Xplique did not use every draw once"


@contextmanager
def moved_path(move: Move) -> Iterator[None]:
    """Move the points of Xplique's Integrated Gradients."""
    straight = IntegratedGradients._get_interpolated_points

    def moved_points(inputs, steps, baseline):
        return tf.constant(move(straight(inputs, steps, baseline).numpy()), tf.float32)

    with replaced(IntegratedGradients, "_get_interpolated_points", moved_points):
        yield


def xplique_explain(model, method, inputs, targets, *, draws=None, move=unmoved, **options) -> np.ndarray:
    """Xplique's attribution of a Keras model.

    Args:
        model: Keras model. Xplique ignores `output_layer`: to explain logits, give the model that ends there.
        method: Class name in `xplique.attributions`.
        inputs: (N, ...) float32.
        targets: (N, C).
        draws: (nb_samples, N, ...) standard normal numbers for the noisy methods; the others ignore them.
        move: Applied to the points where gradients are taken, see `compare.nudged`.
        **options: Constructor arguments: `batch_size`, `reducer`, `steps`, `noise`, ...

    Returns:
        float32 array, as Xplique shapes it.
    """
    BlackBoxExplainer._cache_models.clear()  # keyed by id() of lists, which Python reuses
    if method in NOISY:
        options["nb_samples"] = len(draws)
    explainer = getattr(xplique.attributions, method)(model, **options)
    with ExitStack() as stack:
        if method in NOISY:
            stack.enter_context(injected_noise(draws, move))
        elif method == "IntegratedGradients":
            stack.enter_context(moved_path(move))
        else:
            inputs = move(inputs)
        return explainer.explain(inputs, targets).numpy()
