"""Compares a converted module with the module, on the examples and on drawn inputs."""

import contextlib
import warnings
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from onnxattr.errors import ConversionError
from onnxattr.loading.load import load
from onnxattr.loading.precision import set_precision

from ..common.causes import cause
from ..common.verify import Session, difference, tolerance_of
from .batches import FEW_ROWS
from .calls import as_numpy
from .differing import why_differing
from .running import Runner, tensors_in, without_fast_path
from .stopped import warn_of_stopped

_OTHER_BATCHES = (
    "It takes batches of that size another way than those of the examples, and a file has one. Convert one row, with "
    "dynamic_batch=False: rows are then explained one by one."
)
_ZEROS = (
    "It is what the module computes without PyTorch's fast path, which puts zeros in place of the masked steps of an "
    "nn.TransformerEncoder: make that with enable_nested_tensor=False, or leave masked steps out of what follows."
)


def in_order(examples: dict[Any, Any], names: list[str]) -> list[Any]:
    """Example inputs in the order of the model's inputs; a program's positional ones are known by position."""
    parts = list(examples.values())
    return [examples[name] if name in examples else parts[index] for index, name in enumerate(names)]


def check(
    torch: Any,
    converted: onnx.ModelProto,
    run: Runner,
    examples: dict[Any, Any],
    batches: tuple[int | None, ...],
) -> None:
    """Compares the outputs on the examples and on batches of drawn inputs, and warns of a module with a state.

    Raises:
        ConversionError: They differ, by more than the types in which the model computes tell.
    """
    session, generator = _Values(converted), np.random.default_rng(0)
    _warn_of_state(torch, run, examples)
    _compare(torch, session, run, examples, _tensors_of(torch, run, examples), None)
    for rows in batches:
        try:
            batch, expected = _drawn(torch, generator, run, examples, rows)
        except ConversionError:
            if rows in (None, *FEW_ROWS):
                raise
            continue  # The module refuses so many rows: there is nothing to compare with.
        _compare(torch, session, run, batch, expected, rows)


def _compare(
    torch: Any, session: "_Values", run: Runner, batch: dict[Any, Any], expected: list[Any], rows: int | None
) -> None:
    """Compares the outputs for a batch.

    A module that squeezes one row gives another shape for it, and the file may fail on it: neither is compared.
    """
    given = map(as_numpy, in_order(batch, session.names))
    try:
        found = session.run(dict(zip(session.names, given, strict=True)))
    except ConversionError:
        if rows != 1:
            raise
        return
    for place, (name, worst) in enumerate(zip(session.outputs, _differences(found, expected), strict=True)):
        squeezed = rows == 1 and found[place].shape != tuple(expected[place].shape)
        if not (worst <= session.tolerance or squeezed):
            with without_fast_path(torch):
                slow = _differences(found, _tensors_of(torch, run, batch))[place]
            few, of_rows = rows in (None, *FEW_ROWS), f", of {rows} row{'s' * (rows > 1)}" if rows else ""
            masked = slow <= session.tolerance
            advice = _ZEROS if masked else why_differing(torch, run, batch) if few else _OTHER_BATCHES
            raise ConversionError(
                f"Output {name!r} of the converted model differs from the module's by {worst:.2g} of its largest "
                f"value{of_rows}. {advice}"
            )


def _differences(found: list[np.ndarray], expected: list[Any]) -> list[float]:
    return [difference(np.asarray(a), as_numpy(t)) for a, t in zip(found, expected, strict=True)]


class _Values:
    """What a converted model computes, and how far that may be from the module.

    Of bfloat16 ONNX Runtime has few operators on CPUs: such a model is run in float32, as ``precision="float32"`` does.
    """

    def __init__(self, converted: onnx.ModelProto):
        types, graph = _types(converted), converted.graph
        self.names = [value.name for value in graph.input]
        self.outputs = [value.name for value in graph.output]
        self.tolerance = tolerance_of(types)
        self._widened = "bfloat16" in types
        if self._widened:
            model = load(converted)
            set_precision(model, "float32")
            converted = ir.to_proto(model)
        self._session = Session(converted)

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs."""
        if self._widened:
            feeds = {
                k: a.astype(np.float32) if a.dtype.itemsize == 2 and a.dtype.kind not in "iu" else a
                for k, a in feeds.items()
            }
        return self._session.run(feeds)


def _types(converted: onnx.ModelProto) -> set[str]:
    """The names of the types of weights, inputs and outputs, and those that are cast to."""
    graph = converted.graph
    casts = {a.i for node in graph.node if node.op_type == "Cast" for a in node.attribute if a.name == "to"}
    values = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    kinds = casts | values | {tensor.data_type for tensor in graph.initializer}
    return {onnx.TensorProto.DataType.Name(kind).lower() for kind in kinds}


def _warn_of_state(torch: Any, run: Runner, examples: dict[Any, Any]) -> None:
    """Warns if the module computes something else at its second call in a row than at the first, twice the same."""

    def outputs() -> list[Any]:
        found = run.call({name: tensor.clone() for name, tensor in examples.items()})
        return [tensor.clone() for tensor in tensors_in(torch, found)]

    try:
        with torch.no_grad():
            with run.unchanged():
                first, second = outputs(), outputs()
            with run.unchanged():
                kept = not _same(torch, first, second) and _same(torch, first, outputs())
    except Exception:  # of the module, which does not run twice
        kept = True
    if kept:
        warnings.warn(
            "The module keeps a state between its calls: called again on the same inputs it gives another output. The "
            "file computes what the next call does, in the state that the module has now.",
            stacklevel=4,
        )


def _same(torch: Any, some: list[Any], others: list[Any]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=False))


def _tensors_of(torch: Any, run: Runner, batch: dict[Any, Any]) -> list[Any]:
    try:
        with torch.no_grad():
            return tensors_in(torch, run(batch))
    except Exception as error:
        shapes = [tuple(tensor.shape) for tensor in batch.values() if isinstance(tensor, torch.Tensor)]
        raise ConversionError(
            f"The module itself fails on drawn inputs of shapes {shapes}: {cause(error)}. If it takes "
            "no batch but that of the examples, convert with dynamic_batch=False."
        ) from error


def check_gradient(torch: Any, converted: onnx.ModelProto, run: Runner, examples: dict[Any, Any]) -> None:
    """Warns if the module stops gradients or has its own, and the gradient of the file is another."""
    names = [value.name for value in converted.graph.input]
    with run.unchanged():
        try:
            batch, _ = _drawn(torch, np.random.default_rng(1), run.call, examples, None)
        except ConversionError:
            return  # The module takes its examples alone.
        warn_of_stopped(torch, run.call, batch, partial(in_order, names=names), converted)


def _drawn(
    torch: Any, generator: np.random.Generator, run: Any, examples: dict[Any, Any], rows: int | None
) -> tuple[dict[Any, Any], list[Any]]:
    """Drawn inputs in the shapes of the examples, and what the module makes of them.

    Integers are any in the range of the example. A module may refuse such inputs, as one with a column of 3 categories
    and another of 10 does, or one that takes numbers from 0 to 1 alone: then integers, then all numbers are such as
    an example has at that place, and last, rows are those of the examples.

    Raises:
        ConversionError: The module refuses these too.
    """
    drawn = {name: _random(torch, generator, tensor, rows) for name, tensor in examples.items()}
    try:
        return drawn, _tensors_of(torch, run, drawn)
    except ConversionError as error:
        failure = error
    integers = [name for name, tensor in examples.items() if not tensor.dtype.is_floating_point]
    for names in filter(None, (integers, list(examples))):
        drawn |= {name: _of_places(torch, generator, examples[name], rows) for name in names}
        with contextlib.suppress(ConversionError):
            return drawn, _tensors_of(torch, run, drawn)
    drawn = {name: _of_rows(tensor, rows) for name, tensor in examples.items()}
    with contextlib.suppress(ConversionError):
        return drawn, _tensors_of(torch, run, drawn)
    raise failure


def _shape(example: Any, rows: int | None) -> list[int]:
    return [rows if rows and not axis else size for axis, size in enumerate(example.shape)]


def _random(torch: Any, generator: np.random.Generator, example: Any, rows: int | None) -> Any:
    """Numbers in the shape of an example: normal ones, or integers in the example's range."""
    shape = _shape(example, rows)
    if example.dtype.is_floating_point:
        return torch.as_tensor(generator.normal(size=shape)).to(example.dtype)
    low, high = int(example.min()), int(example.max())
    return torch.as_tensor(generator.integers(low, high + 1, size=shape)).to(example.dtype)


def _of_places(torch: Any, generator: np.random.Generator, example: Any, rows: int | None) -> Any:
    """Numbers of which each is at the same place of some row of the example."""
    if not example.ndim:
        return example.clone()
    chosen = generator.integers(0, len(example), size=_shape(example, rows))
    return torch.gather(example, 0, torch.as_tensor(chosen))


def _of_rows(example: Any, rows: int | None) -> Any:
    """Rows of the example, from the last to the first and again."""
    if not example.ndim:
        return example.clone()
    return example.flip(0)[[place % len(example) for place in range(rows or len(example))]]
