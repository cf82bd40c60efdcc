"""Writing the operators of one estimator into the graph that skl2onnx makes."""

import copy
import functools
from typing import Any

import numpy as np
import onnx

# Names of values are strings; numbers and arrays become constants, int64 or of the writer's own type.
Value = Any


class Writer:
    """Adds nodes and constants for one operator of skl2onnx.

    Attributes:
        estimator: The fitted estimator that is written.
    """

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        self._scope, self._inputs, self._container = scope, operator.inputs, container
        self.estimator = operator.raw_operator
        self._output, *self._others = [value.full_name for value in operator.outputs]
        self._kind = onnx.TensorProto.FLOAT

    @functools.cached_property
    def x(self) -> str:
        """Name of the input, (N, features); several inputs are joined first."""
        names = [value.full_name for value in self._inputs]
        return names[0] if len(names) == 1 else self("Concat", *names, axis=1)

    def inputs(self) -> list[tuple[str, int, bool]]:
        """The inputs: the name, how many features there are, and whether they are text."""
        from skl2onnx.common.data_types import StringTensorType

        given = [(value.full_name, value.type) for value in self._inputs]
        return [(name, kind.shape[1], isinstance(kind, StringTensorType)) for name, kind in given]

    @property
    def of_doubles(self) -> bool:
        """Whether constants are float64."""
        return bool(self._kind == onnx.TensorProto.DOUBLE)

    def in_doubles(self) -> "Writer":
        """A writer whose input and constants are float64, for sums that cancel in float32; `finish` casts back."""
        x = self.x
        other = copy.copy(self)
        other._kind = onnx.TensorProto.DOUBLE
        other.x = self("Cast", x, to=other._kind)
        return other

    def __call__(self, op_type: str, *inputs: Value, **attributes: Any) -> str:
        """Adds a node; gives the name of its output."""
        output: str = self._scope.get_unique_variable_name(op_type.lower())
        self._add(op_type, [self.value(one) for one in inputs], output, attributes)
        return output

    def pair(self, op_type: str, *inputs: Value, **attributes: Any) -> tuple[str, str]:
        """Adds a node of two outputs; gives their names."""
        first, second = (self._scope.get_unique_variable_name(op_type.lower()) for _ in range(2))
        name = self._scope.get_unique_operator_name(op_type)
        names = [self.value(one) for one in inputs]
        self._container.add_node(op_type, names, [first, second], name=name, **attributes)
        return first, second

    def result_of(self, estimator: Any) -> str:
        """What another estimator makes of the same input; skl2onnx converts it afterwards."""
        from skl2onnx import get_model_alias
        from skl2onnx.common.data_types import FloatTensorType

        inner = self._scope.declare_local_operator(get_model_alias(type(estimator)), estimator)
        inner.inputs = self._inputs
        inner.outputs.append(self._scope.declare_local_variable("inner", FloatTensorType()))
        name: str = inner.outputs[0].full_name
        return name

    def value(self, value: Value) -> str:
        """The name of a value; of a constant for a number or an array."""
        if isinstance(value, str):
            return value
        array = np.asarray(value)
        kind = onnx.TensorProto.INT64 if array.dtype.kind in "iu" else self._kind
        array = array.astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
        name: str = self._scope.get_unique_variable_name("constant")
        self._container.add_initializer(name, kind, array.shape, array.ravel())
        return name

    def finish(self, y: Value) -> None:
        """Makes a value the output, in float32."""
        self._add("Cast", [y], self._output, {"to": onnx.TensorProto.FLOAT})

    def finish_classes(self, label: str, scores: str) -> None:
        """Makes values the two outputs of a classifier."""
        self._add("Identity", [label], self._output, {})
        self._add("Cast", [scores], self._others[0], {"to": onnx.TensorProto.FLOAT})

    def _add(self, op_type: str, inputs: list[str], output: str, attributes: dict[str, Any]) -> None:
        name = self._scope.get_unique_operator_name(op_type)
        self._container.add_node(op_type, inputs, output, name=name, **attributes)
