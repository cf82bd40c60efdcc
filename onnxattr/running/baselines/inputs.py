"""Baselines of layers: what the layer gives for a baseline of the model's inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.autodiff.paths import inputs_of, needed_nodes
from onnxattr.compile.baseline_kinds import Computed, named_sizes
from onnxattr.compile.fit import BASELINE_FIT, broadcast_to
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of, shape_text
from onnxattr.loading.prepared import Prepared
from onnxattr.running.given.arrays import as_array
from onnxattr.scores.calls import copied


def split(given: Any, prepared: Prepared) -> tuple[dict[str, Any], Any]:
    """What a baseline names of the model's inputs, for explained values behind them, and what else it gives.

    Inputs that are explained themselves are of the second part, and of the first, too, for the values behind them.
    """
    if not isinstance(given, Mapping):
        return {}, given
    explained = {*prepared.wrt, *prepared.asked}.difference(columns_behind(prepared))
    inner = any(prepared.value(name).producer() is not None for name in _unnamed(given, prepared))
    inputs = {str(value.name) for value in prepared.inputs}
    if not inner or inputs.isdisjoint(set(given) - explained):
        return {}, given
    at = {name: part for name, part in given.items() if name in inputs}
    return at, {name: part for name, part in given.items() if name in explained or name not in inputs}


def columns_behind(prepared: Prepared) -> dict[str, str]:
    """The inputs of numbers that are columns explained by what an encoder makes of them, and the names of that."""
    numbers = {str(value.name) for value in prepared.inputs if value.dtype != ir.DataType.STRING}
    pairs = zip(prepared.asked, prepared.wrt, strict=True)
    return {alias: name for alias, name in pairs if alias in numbers and alias != name}


def _unnamed(given: Mapping[str, Any], prepared: Prepared) -> list[str]:
    """The explained values that a baseline does not name."""
    pairs, behind = zip(prepared.wrt, prepared.asked, strict=True), columns_behind(prepared)
    return [name for name, alias in pairs if name not in given and (alias not in given or alias in behind)]


def behind_inputs(
    at: Mapping[str, Any], given: Mapping[str, Any], prepared: Prepared, ran: Prepared, what: str
) -> dict[str, Computed]:
    """The baselines of the explained values that are not named themselves, by their names.

    Args:
        at: What is given for inputs of the model.
        given: What is given for explained values.
        prepared: The model, as the caller knows it.
        ran: The same, with an axis of samples.
        what: The parameter's name.

    Raises:
        ParameterError: If numbers do not fit their input, or such a value depends on none of the inputs.
    """
    found = {}
    for name in _unnamed(given, prepared):
        read = {v.name for node in needed_nodes([ran.value(name)]) for v in inputs_of(node)}
        parts = {key: part for key, part in at.items() if key in read}
        if not parts:
            asked = prepared.asked[prepared.wrt.index(name)]
            raise ParameterError(
                f"{what} names {list(at)}, on which wrt {asked!r} does not depend; name it, too."
            )
        found[name] = at_inputs(parts, ran, what)
    return found


def at_inputs(given: Mapping[str, Any], prepared: Prepared, what: str) -> Computed:
    """What a layer gives where inputs have other values; inputs that are not named keep those of the sample.

    Args:
        given: For each input a number, or an array that broadcasts to one sample.
        prepared: The model, with an axis of samples.
        what: The parameter's name.

    Raises:
        ParameterError: If numbers do not fit their input.
    """
    numbers = {name: _fitted(part, prepared.value(name), f"{what}[{name!r}]") for name, part in given.items()}

    def build(
        op: OpBuilder, x: ir.Value, seed: ir.Value | None, image: ir.Value | None, position: int
    ) -> ir.Value:
        mapped: dict[ir.Value, ir.Value] = {}
        for value in op.graph.inputs:
            if value.name in numbers:
                given = op.constant(numbers[str(value.name)][None])
                mapped[value] = broadcast_to(op, given, op.Shape(value), BASELINE_FIT)
                mapped[value].type, mapped[value].shape = value.type, value.shape

        def of(value: ir.Value | None) -> ir.Value | None:
            return value and mapped.get(value, value)

        op.graph.sort()  # what renderings put before the model stands behind it until then
        for node in needed_nodes([x]):
            if any(value in mapped for value in inputs_of(node)):
                mapped |= dict(zip(node.outputs, copied(op, node, of).outputs, strict=True))
        return mapped[x]

    digest = hashlib.sha256()
    for name, array in sorted(numbers.items()):
        digest.update(f"{name} {array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    sizes = dict[str, int]()
    for name, array in numbers.items():
        sizes |= named_sizes((dims_of(prepared.value(name)) or [])[1:], array.shape)
    return Computed(f"inputs {digest.hexdigest()}", build, sizes=sizes)


def _fitted(given: Any, value: ir.Value, what: str) -> np.ndarray:
    """Numbers in the type of an input, with an axis for each of a sample's."""
    try:
        array = as_array(given, what)
    except ShapeError as error:
        raise ParameterError(str(error)) from error
    dims = (dims_of(value) or [None])[1:]
    known = shape_text(dims)
    if array.ndim == len(dims) + 1 and len(array) == 1:  # one row, as files have it
        array = array[0]
    shape = (1,) * (len(dims) - array.ndim) + array.shape
    fits = len(shape) == len(dims) and all(
        n == 1 or not isinstance(dim, int) or n == dim for n, dim in zip(shape, dims, strict=True)
    )
    if not fits:
        raise ParameterError(
            f"{what} has shape {array.shape}; expected a number, or numbers that broadcast to one sample {known} "
            "or are one row of it."
        )
    assert value.dtype is not None
    cast = array.astype(value.dtype.numpy())
    if not np.array_equal(cast.astype(np.float64), array.astype(np.float64)) and cast.dtype.kind in "iub":
        raise ParameterError(
            f"{what} holds {array.reshape(-1)[0]}; the input takes {value.dtype.name.lower()}."
        )
    return cast.reshape(shape)
