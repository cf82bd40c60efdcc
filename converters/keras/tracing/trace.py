"""Trace a Keras model into one flat TensorFlow graph, noting which layer made which tensors and operations."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from onnxattr.errors import ConversionError

from ...common import dependencies
from ...common.causes import cause, own_words
from ...common.patching import applied
from ..patches.inlined_functions import as_called_eagerly
from ..patches.table import group
from .inputs import ModelInputs, flatten, returned


@dataclass
class LayerCall:
    """One call of a layer while the model was traced.

    Attributes:
        layer: The Keras layer.
        path: Names of the enclosing layers and its own, joined by "/", without the model itself.
        depth: 1 for the layers of the model itself, 2 for layers in those, ...
        inputs: Tensors of the graph that were given; constants that the layer holds are none.
        outputs: Tensors that came out.
        operations: Range of the operations of the graph made during the call.
    """

    layer: Any
    path: str
    depth: int
    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    operations: range = range(0)


ChooseTaps = Callable[[list[LayerCall], dict[str, Any]], dict[str, Any]]


@dataclass
class Trace:
    """A traced model.

    Attributes:
        function: The concrete function; its outputs are those of the model, then one per tap.
        inputs: TensorFlow name -> ONNX name.
        outputs: TensorFlow name -> ONNX name, without taps.
        taps: TensorFlow name -> ONNX name of the extra outputs.
        values: Name of an input, output or tapped tensor of the trace -> ONNX name of its value.
        calls: The layer calls in the order in which they returned.
    """

    function: Any
    inputs: dict[str, str]
    outputs: dict[str, str]
    taps: dict[str, str]
    values: dict[str, str]
    calls: list[LayerCall]
    _owners: dict[str, str] = field(default_factory=dict, repr=False)

    def layer_of(self, operation_name: str) -> str | None:
        """Path of the innermost layer that made an operation; None if no layer did."""
        if not self._owners:
            self._owners.update(operation_owners(self.calls, self.function.graph))
        return self._owners.get(operation_name)


def operation_owners(calls: list[LayerCall], graph: Any) -> dict[str, str]:
    """Operation name -> path of the innermost layer that made it; `calls` hold inner ones before outer ones."""
    operations = graph.get_operations()
    owners: dict[str, str] = {}
    for call in calls:
        for index in call.operations:
            owners.setdefault(operations[index].name, call.path)
    return owners


def draws_behind(tensors: Iterable[Any]) -> set[str]:
    """Names of the operations that draw random numbers, of which tensors of a graph are computed."""
    found: dict[str, Any] = {}
    waiting = [tensor.op for tensor in tensors]
    while waiting:
        operation = waiting.pop()
        if operation.name not in found:
            found[operation.name] = operation
            waiting += [*operation.control_inputs, *(tensor.op for tensor in operation.inputs)]
    return {name for name, operation in found.items() if "Random" in operation.type}


def trace(model: Any, inputs: ModelInputs, choose_taps: ChooseTaps) -> Trace:
    """Trace `model` in inference mode.

    Args:
        model: Keras 3 or tf_keras model.
        inputs: Its inputs.
        choose_taps: Called with the layer calls and the outputs by name; returns tensors by the name that their
            value is to get. Each becomes an extra output ("tap").

    Raises:
        ConversionError: The model could not be traced; names the layer.
    """
    tf = dependencies.tensorflow()
    recorder = LayerRecorder(model)
    named: dict[str, Any] = {}
    tapped: dict[str, Any] = {}

    def run(*tensors: Any) -> tuple[Any, ...]:
        with recorder.recording(), as_called_eagerly():
            structure = inputs.call(list(tensors))
        pairs = returned(structure)
        names = _output_names(model, pairs, inputs.names)
        named.update({name: tensor for name, (_, tensor) in zip(names, pairs, strict=True)})
        if unreal := [name for name, tensor in named.items() if tensor.dtype.is_complex]:
            raise ConversionError(
                f"The outputs {unreal} are complex; ONNX has real numbers. Let the model give their absolute value, or "
                "their real and imaginary parts."
            )
        tapped.update(choose_taps(recorder.calls, named))
        results = [tf.identity(tensor, name="onnxattr_output") for tensor in named.values()]
        return (*results, *(tf.identity(tensor, name="onnxattr_tap") for tensor in tapped.values()))

    function = _concrete_function(
        tf.function(run, input_signature=inputs.specs, autograph=False), recorder, inputs
    )
    captured = {tensor.name for tensor in function.graph.internal_captures}
    own_inputs = [tensor.name for tensor in function.inputs if tensor.name not in captured]
    outputs = [tensor.name for tensor in function.outputs]
    input_names = dict(zip(own_inputs, inputs.names, strict=True))
    return Trace(
        function=function,
        inputs=input_names,
        outputs=dict(zip(outputs[: len(named)], named, strict=True)),
        taps=dict(zip(outputs[len(named) :], tapped, strict=True)),
        values={
            **{tensor.name: name for name, tensor in tapped.items()},
            **{tensor.name: name for name, tensor in named.items()},
            **input_names,
        },
        calls=recorder.calls,
    )


def _concrete_function(function: Any, recorder: "LayerRecorder", inputs: ModelInputs) -> Any:
    tf = dependencies.tensorflow()
    eager = tf.config.functions_run_eagerly()
    # Inlines the functions that Keras compiles by itself (grouped convolution) into the trace.
    tf.config.run_functions_eagerly(True)
    try:
        return function.get_concrete_function()
    except ConversionError as error:
        raise ConversionError(own_words(error)) from error
    except Exception as error:
        where = f" in layer {recorder.failed_in!r}" if recorder.failed_in else ""
        raise ConversionError(
            f"The model cannot be traced{where}: {cause(error)}. The model must run on symbolic "
            f"TensorFlow tensors; {_about_shapes(inputs)}."
        ) from error
    finally:
        tf.config.run_functions_eagerly(eager)


def _about_shapes(inputs: ModelInputs) -> str:
    """What may help: a layer that decides by the size of an axis, or repeats itself over one, needs it as a number."""
    for spec in inputs.specs:
        if spec.shape.rank and None in tuple(spec.shape)[1:]:
            return (
                f"the input {spec.name!r} has axes of any size, {tuple(spec.shape)}. If the layer needs their sizes as "
                f"numbers, give them: input_signature=tf.TensorSpec((None, ...), {spec.dtype.name!r}), a list of these "
                "for several inputs"
            )
    return "check the shapes in input_signature or sample if you gave one"


class LayerRecorder:
    """Records the calls of all layers below `model` while `recording()` is open."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.calls: list[LayerCall] = []
        self.failed_in: str | None = None
        self._stack: list[LayerCall] = []
        self._graph: Any = None

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Note every layer call while the context is open; the patch of the layer classes ends with it."""
        self._graph = dependencies.tensorflow().compat.v1.get_default_graph()
        with applied(group("calls"), self):
            yield

    def hook(self, original: Any) -> Any:
        """`Layer.__call__` that notes the calls made in the traced graph."""
        recorder = self

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            # Layers also run in graphs of their own: when Keras builds them, and inside loops.
            elsewhere = dependencies.tensorflow().compat.v1.get_default_graph() is not recorder._graph
            if layer is recorder.model or elsewhere:
                return original(layer, *args, **kwargs)
            return recorder._record(original, layer, args, kwargs)

        call.__module__ = original.__module__  # which tells AutoGraph to leave it as it is
        return call

    def _record(self, original: Any, layer: Any, args: Any, kwargs: Any) -> Any:
        tf, graph = dependencies.tensorflow(), self._graph
        enclosing = self._stack[-1].path + "/" if self._stack else ""
        call = LayerCall(layer, enclosing + layer.name, len(self._stack) + 1)
        start = len(graph.get_operations())
        self._stack.append(call)
        try:
            result = original(layer, *args, **kwargs)
        except Exception:
            self.failed_in = self.failed_in or call.path
            raise
        finally:
            self._stack.pop()
        if any(type(tensor).__name__.endswith("KerasTensor") for _, tensor in flatten(result)):
            return result  # tf_keras calls the layers of a Sequential to learn their shapes, if it was given none
        given = [tensor for _, tensor in flatten([*args, *kwargs.values()]) if tf.is_tensor(tensor)]
        call.inputs = [tensor for tensor in given if tf.is_symbolic_tensor(tensor)]
        call.outputs = [tensor for _, tensor in flatten(result) if tf.is_tensor(tensor)]
        call.operations = range(start, len(graph.get_operations()))
        self.calls.append(call)
        return result


def _output_names(model: Any, pairs: list[tuple[str | None, Any]], taken: list[str]) -> list[str]:
    """Dict keys, else the names Keras gives the outputs, else output_0, output_1, ...; never an input's name."""
    keys = [key for key, _ in pairs]
    own = getattr(model, "output_names", None) or getattr(
        getattr(model, "_functional", None), "output_names", None
    )
    fallback = list(own) if own and len(own) == len(pairs) else [f"output_{i}" for i in range(len(pairs))]
    names: list[str] = []
    for key, name in zip(keys, fallback, strict=True):
        chosen, number = key or name, 1
        while chosen in names or chosen in taken:
            number += 1
            chosen = f"{key or name}_{number}"
        names.append(chosen)
    return names
