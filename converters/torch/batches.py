"""The first axis of a module's inputs as a batch of any size: how it is exported, and what is compared then."""

import contextlib
import inspect
from collections.abc import Mapping
from typing import Any

import onnx

from onnxattr.errors import ConversionError

from ..common import onnx_model

#: Numbers of rows that every model is compared with its module on.
FEW_ROWS = (2, 5)
# Beyond the sizes by which modules cut a batch, 64 and 128 and so on, and no more than memory has room for.
_MOST_ROWS, _MOST_ELEMENTS = 1025, 2**22


def made_of(
    torch: Any, source: Any, args: tuple[Any, ...], settings: dict[str, Any], dynamic_batch: bool
) -> tuple[Any, bool]:
    """Exports by torch.onnx.export, with a batch of any size where it is asked for.

    Where a module makes a number of Python of its batch, as len(x) does, the exporter fixes the batch to that of the
    examples. Where it asks for the number of elements, torch.export cannot say for which batches the answer holds, and
    fails. It is then called again with no more than a name for the axis. torch.export may trace such a module by
    torch._dynamo, or for a range of sizes only.

    Returns:
        The exported program, and whether it may hold for a range of sizes only, which is not known.
    """
    if not (dynamic_batch and isinstance(source, torch.nn.Module)):
        return torch.onnx.export(source, args, **settings), False
    batches = (torch.export.Dim(onnx_model.BATCH, min=1), onnx_model.BATCH)
    first, second = (
        {"dynamic_shapes": _batched(source, args, settings["kwargs"], batch)} for batch in batches
    )
    made, failure = None, None
    try:
        made = torch.onnx.export(source, args, **settings, **first)
    except torch.onnx.errors.OnnxExporterError as error:
        if not isinstance(error.__cause__, AssertionError):
            raise
        failure = error
    if made is None or fixed_inputs(made.model_proto):
        # The error of check_batch, or of the first trial, says more than that of the second.
        with contextlib.suppress(Exception):
            return torch.onnx.export(source, args, **settings, **second), True
    if failure is not None:
        raise failure
    return made, False


def batches_of(program: Any, examples: Mapping[Any, Any], ranged: bool) -> tuple[int, ...]:
    """Numbers of rows to compare on: a few, one more than the program holds for, and one, as in most predictions."""
    inputs = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"]
    symbols = {str(value.shape[0]) for value in inputs if getattr(value, "ndim", 0)}
    found = [bounds.upper for symbol, bounds in program.range_constraints.items() if str(symbol) in symbols]
    beyond = {int(upper) + 1 for upper in found if upper < _MOST_ROWS}
    if ranged:
        elements = sum(tensor[0].numel() for tensor in examples.values())
        beyond.add(min(_MOST_ROWS, _MOST_ELEMENTS // max(elements, 1)))
    return (*FEW_ROWS, *sorted(rows for rows in beyond if rows > max(FEW_ROWS)), 1)


def _batched(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], axis: Any) -> dict[str, Any]:
    """For the exporter: the first axis of each input is a batch."""
    batch = {0: axis}
    bound = inspect.signature(module.forward).bind(*args, **kwargs).arguments
    return {name: (batch,) * len(part) if isinstance(part, tuple) else batch for name, part in bound.items()}


def fixed_inputs(converted: onnx.ModelProto) -> list[str]:
    """The inputs whose first axis is not the batch of any size."""
    inputs = converted.graph.input
    return [v.name for v in inputs if v.type.tensor_type.shape.dim[0].dim_param != onnx_model.BATCH]


def check_batch(converted: onnx.ModelProto) -> None:
    """Refuse a model whose inputs have the examples' batch.

    Raises:
        ConversionError: Names the inputs.
    """
    if fixed := fixed_inputs(converted):
        raise ConversionError(
            f"The exporter fixed the batch of {fixed} to that of the examples: the module turns it into a number of "
            "Python, as len(x) and int(...) do, or has a tensor of so many rows, as torch.zeros(8, ...) is. Use "
            "x.shape[0] in both places, or convert with dynamic_batch=False."
        )
