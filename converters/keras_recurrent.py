"""Trace recurrent Keras layers as one opaque operation each, to be written as an ONNX LSTM, GRU or RNN operator.

While a model is traced, the loop over time of a layer is replaced by a TensorFlow operation that is never run. It
carries the layer's inputs; what it stands for is kept here as a `RecurrentSpec` and written by recurrent_ops.py.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxattr.errors import ConversionError

from . import dependencies

# Longer sequences than this stay loops when a cell has no ONNX operator: unrolling costs nodes for every step.
_UNROLL_LIMIT = 64


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
    activations: tuple[tuple[str, float | None, float | None], ...]
    reverse: bool
    reset_after: bool
    masked: bool
    zero_output_for_mask: bool
    has_state: bool

    @property
    def states(self) -> int:
        """Number of state tensors."""
        return 2 if self.operator == "LSTM" else 1


_ACTIVATIONS: tuple[
    tuple[tuple[str, float | None, float | None], Callable[[np.ndarray], np.ndarray]], ...
] = (
    (("Tanh", None, None), np.tanh),
    (("Sigmoid", None, None), lambda x: 1 / (1 + np.exp(-x))),
    (("Relu", None, None), lambda x: np.maximum(x, 0)),
    (("HardSigmoid", 1 / 6, 0.5), lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    (("HardSigmoid", 0.2, 0.5), lambda x: np.clip(x * 0.2 + 0.5, 0, 1)),
    (("Affine", 1.0, 0.0), lambda x: x),
    (("Softsign", None, None), lambda x: x / (1 + np.abs(x))),
    (("Softplus", None, None), lambda x: np.log1p(np.exp(x))),
    (("Elu", 1.0, None), lambda x: np.where(x > 0, x, np.expm1(x))),
    (("LeakyRelu", 0.2, None), lambda x: np.where(x > 0, x, 0.2 * x)),
    (("LeakyRelu", 0.01, None), lambda x: np.where(x > 0, x, 0.01 * x)),
    (("LeakyRelu", 0.3, None), lambda x: np.where(x > 0, x, 0.3 * x)),
)


class RecurrentLayers:
    """Replaces the recurrent layers of a model while it is traced, and keeps the specifications of the operations."""

    def __init__(self) -> None:
        self.specs: dict[str, RecurrentSpec] = {}
        self._falling_back: list[Any] = []

    @contextlib.contextmanager
    def replaced(self) -> Iterator[None]:
        """Patch the recurrent layer classes of the imported Keras packages; undone on exit."""
        with contextlib.ExitStack() as stack:
            for package in dependencies.keras_packages():
                layers = package.layers
                if hasattr(layers.RNN, "inner_loop"):
                    for owner in (layers.RNN, layers.LSTM, layers.GRU):
                        stack.enter_context(_patched(owner, "inner_loop", self._inner_loop(owner.inner_loop)))
                    # The fused path exists for GPUs only and would bypass the layers.
                    for name in ("_can_attempt_fused_lstm", "_can_attempt_fused_gru"):
                        if hasattr(layers.Bidirectional, name):
                            refuse = lambda *args, **kwargs: False  # noqa: E731
                            stack.enter_context(_patched(layers.Bidirectional, name, refuse))
                else:
                    for owner in (layers.LSTM, layers.GRU, layers.SimpleRNN, layers.RNN):
                        stack.enter_context(_patched(owner, "call", self._legacy_call(owner.call)))
            yield

    def _inner_loop(self, original: Any) -> Any:
        """Replacement for `inner_loop` of Keras 3 recurrent layers."""

        def inner_loop(
            layer: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False
        ) -> Any:
            if layer in self._falling_back:  # LSTM and GRU call the method of RNN, which is patched too
                return original(layer, sequences, initial_state, mask, training=training)
            result = self._run(layer, sequences, list(initial_state), mask)
            if result is not None:
                return result
            unroll = layer.unroll
            layer.unroll = unroll or (sequences.shape[1] or _UNROLL_LIMIT + 1) <= _UNROLL_LIMIT
            self._falling_back.append(layer)
            try:
                _warn_about_loop(layer, unrolled=layer.unroll)
                return original(layer, sequences, initial_state, mask, training=training)
            finally:
                self._falling_back.remove(layer)
                layer.unroll = unroll

        return inner_loop

    def _legacy_call(self, original: Any) -> Any:
        """Replacement for `call` of tf_keras recurrent layers."""

        def call(
            layer: Any,
            inputs: Any,
            mask: Any = None,
            training: Any = None,
            initial_state: Any = None,
            **kwargs: Any,
        ) -> Any:
            given = (inputs, mask, initial_state)
            tf = dependencies.tensorflow()
            result = None
            if (tf.is_tensor(inputs) and not layer.time_major) or isinstance(inputs, (list, tuple)):
                sequences, initial_state, _ = layer._process_inputs(inputs, initial_state, None)
                if tf.is_tensor(sequences):
                    result = self._run(layer, sequences, list(initial_state), mask)
            if result is None:
                _warn_about_loop(layer, unrolled=layer.unroll)
                return original(
                    layer, given[0], mask=given[1], training=training, initial_state=given[2], **kwargs
                )
            last, outputs, states = result
            output = outputs if layer.return_sequences else last
            return [output, *states] if layer.return_state else output

        return call

    def _run(self, layer: Any, sequences: Any, states: list[Any], mask: Any) -> Any:
        """Last output, outputs and states of a layer as opaque operations; None if it has no ONNX operator."""
        if layer.stateful:
            raise ConversionError(
                f"Layer {layer.name!r} is stateful: it remembers its state between calls, which an ONNX file cannot. "
                "Build the model with stateful=False, or give the layer its state by initial_state."
            )
        cells = list(layer.cell.cells) if _is_a(layer.cell, "StackedRNNCells") else [layer.cell]
        per_cell = states if len(cells) > 1 else [states]
        if len(sequences.shape) != 3 or len(per_cell) != len(cells):
            return None
        descriptions = [_describe_cell(cell) for cell in cells]
        if any(description is None for description in descriptions):
            return None
        mask = _two_dimensional(mask)
        outputs, new_states = sequences, []
        for description, state in zip(descriptions, per_cell, strict=True):
            nested = isinstance(state, (list, tuple))
            flat = list(state) if nested else [state]
            last, outputs, new = self._opaque(layer, description, outputs, flat, mask)
            new_states.append(new if nested else new[0])
        tf = dependencies.tensorflow()
        if layer.go_backwards:
            outputs = tf.reverse(outputs, [1])
        return last, outputs, new_states if len(cells) > 1 else new_states[0]

    def _opaque(
        self, layer: Any, description: Any, sequences: Any, states: list[Any], mask: Any
    ) -> tuple[Any, Any, list[Any]]:
        tf = dependencies.tensorflow()
        has_state = not all(_is_zeros(state) for state in states)
        spec = RecurrentSpec(
            **description,
            reverse=layer.go_backwards,
            masked=mask is not None,
            zero_output_for_mask=bool(getattr(layer, "zero_output_for_mask", False)),
            has_state=has_state,
        )
        given = [sequences, *([mask] if mask is not None else []), *(states if has_state else [])]
        results = tf.numpy_function(
            _never_run, given, [sequences.dtype] * (2 + spec.states), name="onnxattr_recurrent"
        )
        self.specs[results[0].op.get_attr("token").decode()] = spec
        batch, time = sequences.shape[0], sequences.shape[1]
        shapes = [[batch, time, spec.units], *[[batch, spec.units]] * (1 + spec.states)]
        outputs, last, *new = [
            tf.ensure_shape(result, shape) for result, shape in zip(results, shapes, strict=True)
        ]
        return last, outputs, new


def _describe_cell(cell: Any) -> dict[str, Any] | None:
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


def _match_activation(function: Any) -> tuple[str, float | None, float | None] | None:
    """The ONNX activation with the same values as a Keras one, compared on a grid; None if there is none."""
    grid = np.linspace(-9, 9, 61)
    if function is None:
        return ("Affine", 1.0, 0.0)
    tf = dependencies.tensorflow()
    with tf.init_scope():
        try:
            values = np.asarray(function(tf.constant(grid.reshape(1, -1), tf.float32))).reshape(-1)
        except Exception:
            return None
    return next((key for key, formula in _ACTIVATIONS if np.allclose(values, formula(grid), atol=1e-5)), None)


def _is_zeros(tensor: Any) -> bool:
    """Whether a tensor is zero by construction, as the initial state that Keras makes itself."""
    operation = tensor.op
    while operation.type in ("Cast", "Identity"):
        operation = operation.inputs[0].op
    if operation.type == "ZerosLike":
        return True
    value = dependencies.tensorflow().get_static_value(
        operation.inputs[1] if operation.type == "Fill" else operation.outputs[0]
    )
    return value is not None and not np.any(value)


def _two_dimensional(mask: Any) -> Any:
    """A mask as a boolean (batch, time) tensor; None without one."""
    tf = dependencies.tensorflow()
    if isinstance(mask, (list, tuple)):
        mask = mask[0] if mask else None
    if mask is None:
        return None
    mask = tf.cast(mask, tf.bool)
    return tf.squeeze(mask, -1) if len(mask.shape) == 3 else mask


def _is_a(thing: Any, class_name: str) -> bool:
    return any(isinstance(thing, getattr(p.layers, class_name)) for p in dependencies.keras_packages())


def _is_exactly(thing: Any, class_name: str) -> bool:
    """Whether an object is of the Keras class itself: a subclass may compute something else."""
    return any(type(thing) is getattr(p.layers, class_name) for p in dependencies.keras_packages())


def _warn_about_loop(layer: Any, unrolled: bool) -> None:
    how = "step by step (unrolled)" if unrolled else "as a Loop, whose gradient takes longer"
    warnings.warn(
        f"Layer {layer.name!r} ({type(layer).__name__}) has no ONNX recurrent operator, because of its cell "
        f"{type(layer.cell).__name__} or the activations in it; it is written {how}.",
        stacklevel=2,
    )


def _never_run(*arrays: np.ndarray) -> list[np.ndarray]:
    raise AssertionError("an opaque operation stands for a recurrent layer and is not run")


@contextlib.contextmanager
def _patched(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    missing = object()
    own = owner.__dict__.get(name, missing)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        if own is missing:
            delattr(owner, name)
        else:
            setattr(owner, name, own)
