"""The eight methods by TensorFlow's GradientTape, written from their formulas, independent of any library.

Gradients are taken in float32 or float64; what is done with them afterwards is float64 NumPy, so that the
reference adds no rounding of its own. Noise is given from outside, so that others can be fed the same draws.
"""

from collections.abc import Callable
from functools import cached_property

import keras
import numpy as np
import tensorflow as tf

METHODS = (
    "Saliency",
    "GradientInput",
    "IntegratedGradients",
    "SmoothGrad",
    "SquareGrad",
    "VarGrad",
    "DeconvNet",
    "GuidedBackprop",
)
NOISY = ("SmoothGrad", "SquareGrad", "VarGrad")
RELU_RULES = {"DeconvNet": "deconvnet", "GuidedBackprop": "guided"}
ROWS_PER_RUN = 64


def modified_relu(forward: Callable, rule: str) -> Callable:
    """`forward` with another backward: relu(ct), and for "guided" only where the input is positive."""

    @tf.custom_gradient
    def activation(x):
        def backward(ct):
            kept = tf.maximum(ct, tf.zeros((), ct.dtype))
            return kept if rule == "deconvnet" else tf.where(x > 0, kept, tf.zeros_like(kept))

        return forward(x), backward

    return activation


def is_relu_activation(function: Callable | None, policy: str) -> bool:
    """Whether an activation function is replaced. Xplique knows `relu` only; "all" knows `relu6` as well."""
    known = [keras.activations.relu, tf.nn.relu]
    if policy == "all":
        known += [keras.activations.relu6, tf.nn.relu6]
    return any(function is each for each in known)


def rebuild(model: keras.Model, dtype: str, rule: str | None = None, policy: str = "all") -> keras.Model:
    """A copy of the model in another dtype whose ReLUs have another gradient.

    Args:
        model: Sequential or functional model, nested or not.
        dtype: "float32" or "float64", of weights and arithmetic.
        rule: None (plain gradient), "deconvnet" or "guided".
        policy: "all" replaces ReLUs inside nested models too, "xplique" those of the top level only.
    """
    copied = copy_graph(model, dtype, rule, policy)
    copied.set_weights(model.get_weights())
    return copied


def copy_graph(model: keras.Model, dtype: str, rule: str | None, policy: str) -> keras.Model:
    """The layers of `rebuild`, connected, with fresh weights."""

    def copy_any(layer):
        if isinstance(layer, keras.Model):
            return copy_graph(layer, dtype, rule if policy == "all" else None, policy)
        return copy_layer(layer, dtype, rule, policy)

    if isinstance(
        model, keras.Sequential
    ):  # the same chain as a functional graph, whose input can have a dtype
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    inputs = [keras.Input(batch_shape=tensor.shape, dtype=dtype) for tensor in model.inputs]
    inputs = inputs if isinstance(model.input, list) else inputs[0]
    return keras.models.clone_model(model, input_tensors=inputs, clone_function=copy_any)


def copy_layer(layer: keras.Layer, dtype: str, rule: str | None, policy: str) -> keras.Layer:
    """One layer in another dtype, its ReLU replaced when there is a rule and the policy covers it.

    A ReLU layer with a negative slope is a leaky one and keeps its gradient.
    """
    copied = layer.__class__.from_config({**layer.get_config(), "dtype": dtype})
    if rule is None:
        return copied
    if isinstance(layer, keras.layers.ReLU) and not layer.negative_slope:
        return keras.layers.Activation(modified_relu(copied.call, rule), name=layer.name, dtype=dtype)
    if is_relu_activation(getattr(layer, "activation", None), policy):
        copied.activation = modified_relu(layer.activation, rule)
    return copied


def reduce_channels(maps: np.ndarray, reducer: str | None) -> np.ndarray:
    """(N, H, W, C) to (N, H, W, 1) by a NumPy function's name; None, other ranks and C = 1 are unchanged."""
    if reducer is None or maps.ndim != 4 or maps.shape[-1] == 1:
        return maps
    return getattr(np, reducer)(maps, axis=-1, keepdims=True)


class TapeReference:
    """Attributions of one Keras model by TensorFlow.

    Args:
        model: Keras model with one input and one output of shape (N, C).
        output_layer: Name or index of the top-level layer to cut at; None keeps the whole model.
        dtype: "float32" or "float64".
        relu_policy: "all" or "xplique", see `rebuild`.
        operator: operator(model, x, y) -> (N,) in TensorFlow's functions; None for sum(f(x) * y, last axis).
    """

    def __init__(self, model, output_layer=None, dtype="float32", relu_policy="all", operator=None):
        if output_layer is not None:
            by_name = isinstance(output_layer, str)
            layer = model.get_layer(output_layer) if by_name else model.layers[output_layer]
            model = keras.Model(model.inputs, layer.output)
        self.model = model
        self.dtype = dtype
        self.relu_policy = relu_policy
        self.operator = operator or (lambda f, x, y: tf.reduce_sum(f(x, training=False) * y, axis=-1))
        self.target_dims = model.outputs[0].shape[1:] if operator is None else None
        self._gradients: dict[str | None, Callable] = {}

    @cached_property
    def _plain_model(self) -> keras.Model:
        return rebuild(self.model, self.dtype)

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """The model's output (N, C) in `dtype`."""
        return self._plain_model(tf.constant(inputs, self.dtype), training=False).numpy()

    def score(self, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """What is differentiated, (N,): sum(f(x) * y, last axis)."""
        return np.sum(self.predict(inputs) * targets, axis=-1)

    def gradient(self, points: np.ndarray, targets: np.ndarray, rule: str | None = None) -> np.ndarray:
        """Gradient of sum(f(x) * y, last axis) at each of the points (P, ...), for targets (P, C)."""
        if rule not in self._gradients:
            self._gradients[rule] = self._trace(rule)
        gradient = self._gradients[rule]
        chunks = range(0, len(points), ROWS_PER_RUN)
        rows = [gradient(points[i : i + ROWS_PER_RUN], targets[i : i + ROWS_PER_RUN]).numpy() for i in chunks]
        return np.concatenate(rows)

    def _trace(self, rule: str | None) -> Callable:
        model = rebuild(self.model, self.dtype, rule, self.relu_policy)
        free_batch = [(None, *model.inputs[0].shape[1:]), self.target_dims and (None, *self.target_dims)]

        @tf.function(input_signature=[tf.TensorSpec(shape, self.dtype) for shape in free_batch])
        def gradient(x, y):
            with tf.GradientTape() as tape:
                tape.watch(x)
                score = self.operator(model, x, y)
            return tape.gradient(score, x)

        return lambda x, y: gradient(tf.constant(x, self.dtype), tf.constant(y, self.dtype))

    def gradients_at(self, points: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Plain gradients at points (K, N, ...), for each of the K copies of a sample with its own target."""
        flat = points.reshape(-1, *points.shape[2:])
        rows = self.gradient(flat, np.tile(targets, (len(points), *[1] * (targets.ndim - 1))))
        return rows.reshape(points.shape).astype(np.float64)

    def explain(self, method, inputs, targets, *, reducer=None, draws=None, **parameters):
        """The attribution of a method.

        Args:
            method: One of `METHODS`.
            inputs: (N, ...) float32.
            targets: (N, C) weights of the outputs.
            reducer: None, "min", "mean", "max" or "sum", over the channels of images.
            draws: (nb_samples, N, ...) standard normal numbers for the noisy methods.
            **parameters: `noise` (0.2) of the noisy methods; `steps` (50) and `baseline_value` (0.0) of
                IntegratedGradients.

        Returns:
            float64 array of the shape of the inputs, or with one channel after a reducer.
        """
        if method == "IntegratedGradients":
            maps = self._integrated(inputs, targets, **parameters)
        elif method in NOISY:
            maps = noise_statistic(method, self._noisy(inputs, targets, draws, **parameters))
        else:
            gradient = self.gradient(inputs, targets, RELU_RULES.get(method)).astype(np.float64)
            maps = {"Saliency": np.abs(gradient), "GradientInput": inputs * gradient}.get(method, gradient)
        return reduce_channels(maps, reducer)

    def _noisy(self, inputs, targets, draws, noise=0.2):
        """Gradients at the float32 points that a float32 implementation sees, whatever `dtype` is."""
        return self.gradients_at(inputs[None] + np.float32(noise) * draws, targets)

    def _integrated(self, inputs, targets, steps=50, baseline_value=0.0):
        """(x - b) times the trapezoidal mean of the gradients at `steps` points, both ends included."""
        alphas = np.linspace(0.0, 1.0, steps)
        path = inputs.astype(np.float64) - baseline_value
        points = baseline_value + alphas.reshape(-1, *[1] * inputs.ndim) * path[None]
        return path * np.trapezoid(self.gradients_at(points, targets), alphas, axis=0)


def noise_statistic(method: str, gradients: np.ndarray) -> np.ndarray:
    """Mean, mean square or unbiased two-pass variance over the first axis of (nb_samples, N, ...)."""
    if method == "SmoothGrad":
        return gradients.mean(axis=0)
    if method == "SquareGrad":
        return np.square(gradients).mean(axis=0)
    return gradients.var(axis=0, ddof=1)
