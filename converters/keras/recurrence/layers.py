"""Trace recurrent Keras layers as one opaque operation each, to be written as an ONNX LSTM, GRU or RNN operator.

While a model is traced, the loop over time of a layer is replaced by a TensorFlow operation that is never run. It
carries the layer's inputs; what it stands for is kept here as a `RecurrentSpec` and written by operators.py.
"""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from onnxattr.errors import ConversionError

from ...common import dependencies
from ...common.patching import applied
from ..patches.table import group
from .cells import RecurrentSpec, describe_cell

# Longer sequences than this stay loops when a cell has no ONNX operator: unrolling costs nodes for every step.
_UNROLL_LIMIT = 64


class RecurrentLayers:
    """Replaces the recurrent layers of a model while it is traced, and keeps the specifications of the operations."""

    def __init__(self) -> None:
        self.specs: dict[str, RecurrentSpec] = {}
        self._falling_back: list[Any] = []

    @contextlib.contextmanager
    def replaced(self) -> Iterator[None]:
        """Patch the recurrent layer classes of the imported Keras packages; undone on exit."""
        with applied(group("recurrent"), self):
            yield

    def inner_loop(self, original: Any) -> Any:
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

    def legacy_call(self, original: Any) -> Any:
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
        descriptions = [describe_cell(cell) for cell in cells]
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


def _warn_about_loop(layer: Any, unrolled: bool) -> None:
    how = "step by step (unrolled)" if unrolled else "as a Loop, whose gradient takes longer"
    warnings.warn(
        f"Layer {layer.name!r} ({type(layer).__name__}) has no ONNX recurrent operator, because of its cell "
        f"{type(layer.cell).__name__} or the activations in it; it is written {how}.",
        stacklevel=2,
    )


def _never_run(*arrays: np.ndarray) -> list[np.ndarray]:
    raise AssertionError("an opaque operation stands for a recurrent layer and is not run")
