"""What a recurrent Keras cell computes, in the terms of the ONNX operators LSTM, GRU and RNN."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...common import dependencies

#: Name, alpha and beta of an ONNX activation.
Activation = tuple[str, float | None, float | None]


@dataclass(frozen=True)
class RecurrentSpec:
    """What an opaque operation computes.

    Its inputs are the sequences (batch, time, features), the mask (batch, time) if `masked`, and the initial states
    if `has_state`. Its outputs are the sequence of outputs in the order of time, the last output, and the states.

    Attributes:
        operator: "LSTM", "GRU" or "RNN".
        units: Size of the state.
        kernel: Input weights (features, gates * units) in the gate order of Keras.
        recurrent_kernel: Recurrent weights (units, gates * units).
        bias: Bias as Keras keeps it, None without one.
        activations: Name, alpha and beta of the ONNX activations in the order of the operator's attribute.
        reverse: Whether it runs from the last step to the first.
        reset_after: GRU only: the reset gate acts after the matrix product.
        masked: Whether there is a mask.
        zero_output_for_mask: Whether outputs at masked steps are zero instead of repeated.
        has_state: Whether the initial states are inputs; zero otherwise.
    """

    operator: str
    units: int
    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray | None
    activations: tuple[Activation, ...]
    reverse: bool
    reset_after: bool
    masked: bool
    zero_output_for_mask: bool
    has_state: bool

    @property
    def states(self) -> int:
        """Number of state tensors."""
        return 2 if self.operator == "LSTM" else 1


_Formula = Callable[[np.ndarray], np.ndarray]
# Without Softplus: within its recurrent operators ONNX Runtime computes log(1 + exp(x)), which overflows above 88.
_PLAIN: tuple[tuple[Activation, _Formula], ...] = (
    (("Tanh", None, None), np.tanh),
    (("Sigmoid", None, None), lambda x: 1 / (1 + np.exp(-x))),
    (("Relu", None, None), lambda x: np.maximum(x, 0)),
    (("Softsign", None, None), lambda x: x / (1 + np.abs(x))),
)


def _with_parameters(values: _Formula) -> Iterator[tuple[Activation, _Formula]]:
    """Activations with parameters, which are read off a function's values."""
    below, zero, beside, one = values(np.array([-1.0, 0.0, 0.125, 1.0])).tolist()
    slope, rise = -below, (beside - zero) / 0.125
    scale = below / float(np.expm1(-1.0))
    yield ("Affine", one - zero, zero), lambda x: (one - zero) * x + zero
    yield ("LeakyRelu", slope, None), lambda x: np.where(x > 0, x, slope * x)
    yield ("Elu", scale, None), lambda x: np.where(x > 0, x, scale * np.expm1(x))
    # Keras' own slopes first: what is read off a float32 is rounded.
    for alpha, beta in ((1 / 6, 0.5), (0.2, 0.5), (rise, zero)):
        yield ("HardSigmoid", alpha, beta), functools.partial(_hard_sigmoid, alpha=alpha, beta=beta)


def _hard_sigmoid(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    return np.clip(alpha * x + beta, 0, 1)


def describe_cell(cell: Any) -> dict[str, Any] | None:
    """The fields of `RecurrentSpec` that depend on the cell alone; None if it has no ONNX operator."""
    kinds = {"LSTMCell": "LSTM", "GRUCell": "GRU", "SimpleRNNCell": "RNN"}
    operator = next((kinds[name] for name in kinds if _is_exactly(cell, name)), None)
    if operator is None:
        return None
    functions = [cell.activation] if operator == "RNN" else [cell.recurrent_activation, cell.activation]
    if operator == "LSTM":
        functions.append(cell.activation)
    activations = [_match_activation(function) for function in functions]
    if any(activation is None for activation in activations):
        return None
    with dependencies.tensorflow().init_scope():
        weights = [np.asarray(cell.kernel), np.asarray(cell.recurrent_kernel)]
        bias = np.asarray(cell.bias) if cell.use_bias else None
    return {
        "operator": operator,
        "units": int(cell.units),
        "kernel": weights[0],
        "recurrent_kernel": weights[1],
        "bias": bias,
        "activations": tuple(activations),
        "reset_after": bool(getattr(cell, "reset_after", False)),
    }


def _match_activation(function: Any) -> Activation | None:
    """The ONNX activation with the same values as a Keras one, compared on a grid; None if there is none."""
    if function is None:
        return ("Affine", 1.0, 0.0)
    tf = dependencies.tensorflow()
    # A layer as activation is not called as one: calls are traced here.
    compute = function.call if _is_a_layer(function) else function

    def values(x: np.ndarray) -> np.ndarray:
        with tf.init_scope():
            return np.asarray(compute(tf.constant(x.reshape(1, -1), tf.float32))).reshape(-1)

    grid = np.linspace(-9, 9, 61)
    try:
        expected = values(grid)
        known = [*_PLAIN, *_with_parameters(values)]
    except Exception:
        return None
    return next((key for key, formula in known if np.allclose(expected, formula(grid), atol=1e-5)), None)


def _is_a_layer(function: Any) -> bool:
    return any(isinstance(function, package.layers.Layer) for package in dependencies.keras_packages())


def _is_exactly(thing: Any, class_name: str) -> bool:
    """Whether an object is of the Keras class itself: a subclass may compute something else."""
    return any(type(thing) is getattr(p.layers, class_name) for p in dependencies.keras_packages())
