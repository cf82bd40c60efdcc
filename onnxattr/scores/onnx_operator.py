"""ONNX models as scores: inputs scores, target and optionally x, one output with a number for each sample."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from onnxattr.errors import ModelError, OperatorError
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.schemas import opset_of
from onnxattr.graph.values import dims_of, shape_text
from onnxattr.loading.free_batch import free_batch
from onnxattr.loading.load import DIGEST, load
from onnxattr.loading.passes.opsets import OPSET, downgrade
from onnxattr.loading.reading.source import ModelSource, name_of
from onnxattr.scores.arrays import Array
from onnxattr.scores.calls import copied
from onnxattr.scores.score import Dims, Score, TargetKind

#: What inputs are called: the model's output, the target, the model's input.
_NAMES = {
    "scores": ("scores", "score", "output", "outputs", "prediction", "predictions", "logits", "fx", "f"),
    "target": ("target", "targets", "y"),
    "x": ("x", "input", "inputs"),
}
_ORDER = ("scores", "target", "x")


def score_of_model(source: ModelSource) -> Score:
    """The score that an ONNX model computes.

    Its inputs are matched by name, "scores", "target" and "x" or the names of the explained model's own outputs and
    inputs; where a name is none of these, by their order.

    Raises:
        OperatorError: If it cannot be read, or has no single float output, or more inputs than can be matched.
    """
    where = f"operator={name_of(source)}" if isinstance(source, (str, os.PathLike)) else "The operator"
    try:
        model = load(source)
    except ModelError as error:
        raise OperatorError(f"{where} cannot be used: {error}") from error
    outputs = model.graph.outputs
    if len(outputs) != 1 or outputs[0].dtype not in FLOATS:
        told = ", ".join(f"{v.name} ({v.dtype.name.lower() if v.dtype else '?'})" for v in outputs)
        raise OperatorError(
            f"{where} has the outputs {told}; expected one of floats, a number for each sample."
        )
    if not len(model.graph.inputs) >= 1:
        raise OperatorError(f"{where} has no inputs; expected scores, target and optionally x.")
    name = Path(source).stem if isinstance(source, (str, os.PathLike)) else model.graph.name or "model"
    free_batch(model.graph, opset_of(model))
    batches = {dims[0] for value in model.graph.inputs if (dims := dims_of(value))}
    fixed = next((size for size in batches if isinstance(size, int)), None)
    operator = _Operator(model, name)
    formula = f"ONNX model, sha256 {model.meta[DIGEST]}"
    return Score(name, operator, operator.targets, formula, batch=fixed)


class _Operator:
    """g(f, x, y) by the nodes of a model."""

    def __init__(self, model: ir.Model, name: str):
        self._name = name
        self._at_opset = cache(lambda opset: _converted(model, opset, name))
        self._inputs = list(model.graph.inputs)

    def targets(self, dims: Dims, real: ir.DataType) -> TargetKind:
        """What its input for targets takes: labels too, if those are weights on the output."""
        names = [str(v.name) for v in self._inputs]
        known = [_role(name, (), ()) for name in names]
        roles = known if ("target", None) in known else _roles(names, (), ())
        value = next((v for v, r in zip(self._inputs, roles, strict=True) if r == ("target", None)), None)
        if value is None or value.dtype is None:
            return TargetKind(dims[1:], real)
        own = dims_of(value)
        if own is None:
            return TargetKind(dims[1:], value.dtype)
        own = own[1:]
        alike = value.dtype in FLOATS and len(own) == len(dims) - 1
        if alike and all(not isinstance(a, int) or a == b for a, b in zip(own, dims[1:], strict=True)):
            return TargetKind(dims[1:], value.dtype)
        return TargetKind(own, value.dtype, labels=False, what="targets", own_sizes=True)

    def __call__(self, f: Any, x: Any, y: Array) -> Array:
        """Appends the nodes."""
        op, graph = y.op, self._at_opset(y.op.opset).graph
        xs = {"x": x} if isinstance(x, Array) else dict(x)
        found = f(x)
        outputs = {"scores": found} if isinstance(found, Array) else dict(found)
        names = [str(value.name) for value in graph.inputs]
        roles = _roles(names, tuple(f.output_names), tuple(f.input_names))
        mapped: dict[ir.Value, ir.Value] = {}
        for value, (role, name) in zip(graph.inputs, roles, strict=True):
            given = (
                y if role == "target" else _one(outputs if role == "scores" else xs, name, role, self._name)
            )
            mapped[value] = self._fitted(value, given).value
        for name, value in graph.initializers.items():
            assert value.const_value is not None, name
            mapped[value] = op.constant(value.const_value.numpy())

        def of(value: ir.Value | None) -> ir.Value | None:
            return value if value is None else mapped.get(value, value)

        for node in graph:
            mapped |= dict(zip(node.outputs, copied(op, node, of).outputs, strict=True))
        return y.new(mapped[graph.outputs[0]])

    def _fitted(self, value: ir.Value, given: Array) -> Array:
        """An array in the type of an input, of a shape that the input takes."""
        wanted, have = dims_of(value), dims_of(given.value)
        clash = (
            wanted is not None
            and have is not None
            and (
                len(wanted) != len(have)
                or any(
                    isinstance(w, int) and isinstance(h, int) and w != h
                    for w, h in zip(wanted[1:], have[1:], strict=False)
                )
            )
        )
        if clash:
            raise OperatorError(
                f"The operator {self._name} takes {value.name!r} of shape {shape_text(wanted)}, and gets {given!r}. "
                "Give its inputs the shapes of the model's output, the targets and the model's input."
            )
        return given if value.dtype is None else given.astype(value.dtype)


def _one(values: Mapping[str, Array], name: str | None, role: str, operator: str) -> Array:
    if name is not None and name in values:
        return values[name]
    if len(values) == 1:
        return next(iter(values.values()))
    raise OperatorError(
        f"The operator {operator} takes {role!r}, and the model has several: {list(values)}. Name the operator's "
        "inputs like them."
    )


def _roles(
    names: Sequence[str], outputs: Sequence[str], inputs: Sequence[str]
) -> list[tuple[str, str | None]]:
    """What each input of an operator is: (role, name of the model's output or input)."""
    # Where the model has an output called y, scores and y would both be that output: y is the target then.
    for own in ((outputs, inputs), ((), ())):
        found = [_role(name, *own) for name in names]
        roles = [role for role in found if role is not None]
        if len(roles) == len(found) == len({_meant(role, outputs, inputs) for role in roles}):
            return roles
    if len(names) > len(_ORDER):
        raise OperatorError(
            f"The operator has the inputs {list(names)}; expected scores, target and x, or names of the model's "
            f"outputs {list(outputs)} and inputs {list(inputs)}."
        )
    return [(role, None) for role in _ORDER[: len(names)]]


def _meant(
    role: tuple[str, str | None], outputs: Sequence[str], inputs: Sequence[str]
) -> tuple[str, str | None]:
    """A role with the name of what has it, where the model has only one."""
    kind, name = role
    of_model = {"scores": outputs, "x": inputs}.get(kind, ())
    return kind, of_model[0] if name is None and len(of_model) == 1 else name


def _role(name: str, outputs: Sequence[str], inputs: Sequence[str]) -> tuple[str, str | None] | None:
    if name in _ORDER:
        return name, None
    if name in outputs or name in inputs:
        return ("scores" if name in outputs else "x"), name
    return next(((role, None) for role, known in _NAMES.items() if name.lower() in known), None)


def _converted(model: ir.Model, opset: int, name: str) -> ir.Model:
    """A model at the opset of the one that it is appended to.

    Raises:
        OperatorError: If it has no form there.
    """
    own = opset_of(model)
    if own == opset:
        return model
    try:
        if downgrade(model, opset):
            return load(model)
        return load(onnx.version_converter.convert_version(ir.serde.serialize_model(model), opset))
    except (
        RuntimeError,
        ModelError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    ) as error:
        raise OperatorError(
            f"The operator {name} is of opset {own} and cannot be brought to the model's, {opset}: "
            f"{' '.join(str(error).split())[:200]}. Export one of them at the other's opset; {OPSET} suits both."
        ) from error
