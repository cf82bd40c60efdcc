"""A model in the making: nodes, constants and float values of known shapes, all drawn from one random generator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray


@dataclass(frozen=True)
class Value:
    """A float value with its sizes at run time; axis 0 is the batch as long as the draft keeps samples apart."""

    name: str
    shape: tuple[int, ...]

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)


@dataclass
class Draft:
    """What operators are added to.

    Attributes:
        rng: Every choice comes from here.
        opset: The ai.onnx opset of the model.
        apart: Whether no operator so far mixes samples.
        inside: Whether this is the body of an If, Loop or Scan, which keeps its constants as nodes.
        inputs: The inputs of the model, ``x`` first.
        functions: The model's own functions by name.
    """

    rng: np.random.Generator
    opset: int
    apart: bool = True
    inside: bool = False
    mixing: bool = False
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    values: list[Value] = field(default_factory=list)
    names: list[int] = field(default_factory=lambda: [0])
    inputs: list[Value] = field(default_factory=list)
    functions: dict[str, onnx.FunctionProto] = field(default_factory=dict)

    def fresh(self, stem: str = "v") -> str:
        """A name that is used nowhere else in the model."""
        self.names[0] += 1
        return f"{stem}{self.names[0]}"

    def pick(self, *options: Any) -> Any:
        """One of the options."""
        return options[int(self.rng.integers(len(options)))]

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return bool(self.rng.random() < probability)

    def normal(self, *shape: int, scale: float = 1.0) -> Array:
        """Normal float32 numbers."""
        return (scale * self.rng.normal(size=shape)).astype(np.float32)

    def constant(self, array: Any, dtype: Any = None) -> str:
        """The name of a constant: an initializer, one behind an Identity, or a Constant node."""
        array, name = np.asarray(array, dtype), self.fresh("c")
        kind = self.rng.random()
        if self.inside or kind < 0.3:
            tensor = numpy_helper.from_array(array, name)
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.weights[name] = array
            if kind > 0.93:
                return self.node("Identity", [name])
        return name

    def node(self, op_type: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> str:
        """Adds a node; returns the name of its first output, ``<name>``, of ``<name>``, ``<name>_1``, ..."""
        name = self.fresh()
        names = [name] + [f"{name}_{k}" for k in range(1, outputs)]
        self.nodes.append(helper.make_node(op_type, inputs, names, name=f"{op_type}_{name}", **attributes))
        return name

    def add(
        self, op_type: str, x: Value, *others: str, shape: tuple[int, ...] | None = None, **attributes: Any
    ) -> Value:
        """Adds a node that reads x first; its output has the shape of x if none is given."""
        return Value(self.node(op_type, [x.name, *others], **attributes), x.shape if shape is None else shape)

    def with_axes(
        self, op_type: str, x: Value, axes: list[int], shape: tuple[int, ...], since: int, **more: Any
    ) -> Value:
        """Adds a node whose axes are an attribute below an opset and an input from it on."""
        if self.opset < since:
            return self.add(op_type, x, shape=shape, axes=axes, **more)
        return self.add(op_type, x, self.constant(axes, np.int64), shape=shape, **more)

    def body(self) -> Draft:
        """A draft for a subgraph, with names apart from this one's."""
        return Draft(
            self.rng, self.opset, self.apart, True, self.mixing, names=self.names, functions=self.functions
        )


def info(value: Value, dims: list[int | str | None] | None = None) -> onnx.ValueInfoProto:
    """A float value's declaration."""
    return helper.make_tensor_value_info(
        value.name, TensorProto.FLOAT, list(value.shape) if dims is None else dims
    )


def keep(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    """A shape with another size along one axis."""
    return (*shape[:axis], size, *shape[axis + 1 :])
