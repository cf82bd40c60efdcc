"""The Keras model that a converted one is compared with, run on the batches that the checks share."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxattr.errors import ConversionError

from ...common import dependencies
from ...common.causes import cause
from ...common.layer_rows import path_of_call
from ..tracing.inputs import ModelInputs, returned
from ..tracing.trace import LayerRecorder, Trace


class Original:
    """The Keras model, run once on each of the batches that the checks share.

    With recurrent layers it is compiled: Python takes longer for one run of their steps than for that.

    Attributes:
        inputs: Its inputs.
        compiled: Whether it is compiled, as in `model.predict`.
    """

    def __init__(self, model: Any, inputs: ModelInputs, traced: Trace, compiled: bool = False):
        self.inputs, self._recorder = inputs, LayerRecorder(model)
        self.compiled = compiled or any(_loops(call.layer) for call in traced.calls)
        self._known: list[tuple[Sequence[np.ndarray], list[np.ndarray]]] = []
        tf = dependencies.tensorflow()
        self._compiled = (
            tf.function(self._with_layers, input_signature=inputs.specs, autograph=False)
            if self.compiled
            else None
        )

    def outputs(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Its outputs, flat; remembered.

        Raises:
            ConversionError: The model itself fails on these arrays.
        """
        for seen, outputs in self._known:
            if seen is arrays:
                return outputs
        self._known.append((arrays, self.run(arrays)))
        return self._known[-1][1]

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Its outputs, flat.

        Raises:
            ConversionError: The model itself fails on these arrays.
        """
        if self._compiled is None:
            outputs = self._called(lambda *tensors: self.inputs.call(list(tensors)), arrays)
        else:
            outputs, _ = self._called(self._compiled, arrays)
        return [np.asarray(tensor) for _, tensor in returned(outputs)]

    def layers(self, arrays: Sequence[np.ndarray]) -> dict[str, list[Any]]:
        """The outputs of each call of a layer, as tensors, by the path of the call."""
        _, found = self._called(self._compiled or self._with_layers, arrays)
        calls, paths = Counter[str](), []
        for call in self._recorder.calls:
            calls[call.path] += 1
            paths.append(path_of_call(call.path, calls[call.path]))
        return dict(zip(paths, found, strict=True))

    def _with_layers(self, *tensors: Any) -> tuple[Any, list[list[Any]]]:
        """The outputs of the model and of each call of a layer."""
        self._recorder.calls.clear()
        with self._recorder.recording():
            outputs = self.inputs.call(list(tensors))
        return [*returned(outputs)], [call.outputs for call in self._recorder.calls]

    def _called(self, function: Callable[..., Any], arrays: Sequence[np.ndarray]) -> Any:
        tf, inputs = dependencies.tensorflow(), self.inputs
        try:
            with tf.device("/cpu:0"):
                return function(
                    *(
                        tf.constant(array, spec.dtype)
                        for array, spec in zip(arrays, inputs.specs, strict=True)
                    )
                )
        except ConversionError:
            raise
        except Exception as error:
            shapes = {name: array.shape for name, array in zip(inputs.names, arrays, strict=True)}
            raise ConversionError(
                f"The Keras model itself fails on inputs of shape {shapes}: {cause(error)}. Pass "
                "sample=<inputs that it accepts>."
            ) from error


def _loops(layer: Any) -> bool:
    """Whether a layer is a recurrent one of Keras 3 whose steps are run in a loop.

    tf_keras compiles its own, and steps that are written out one by one are compiled one by one.
    """
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(layer, keras.layers.RNN) and not layer.unroll
