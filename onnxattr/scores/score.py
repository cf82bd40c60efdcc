"""What is explained: one number for each sample, of the model's output and the targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import onnx_ir as ir

from onnxattr.errors import OperatorError
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.values import dims_of
from onnxattr.scores.arrays import Array
from onnxattr.scores.calls import Model

#: g(f, x, y) -> one number per sample (N,), of symbolic arrays.
Function = Callable[[Any, Any, Any], Any]
Dims = list[int | str | None]


@dataclass(frozen=True)
class TargetKind:
    """What targets are: the sizes after the axis of samples, and the type.

    Attributes:
        dims: The sizes, None or a name for one that may be anything.
        dtype: The type.
        labels: Whether they may be given as labels, which stand for one-hot rows.
        one_box: Whether one row of ``dims`` may be given without its axis.
        what: What the numbers are, for messages.
        not_zero: Whether a row of zeros explains nothing.
        optional: Whether the score is the same for all targets.
        own_sizes: Whether they are other things than numbers for each number of the output.
        corners: Whether their first four columns are x1, y1, x2, y2 of boxes, as those of the output are.
        numbers: Whether the columns of an output (N, C) are several numbers, none of which is a predicted class.
    """

    #: What a file tells of them, beside their shape and type.
    TOLD: ClassVar = {
        "labels": True,
        "one_box": False,
        "what": "weights",
        "not_zero": False,
        "optional": False,
        "corners": False,
        "numbers": False,
    }

    dims: Dims
    dtype: ir.DataType
    labels: bool = True
    one_box: bool = False
    what: str = "weights"
    not_zero: bool = False
    optional: bool = False
    own_sizes: bool = False
    corners: bool = False
    numbers: bool = False


@dataclass(frozen=True)
class Score:
    """The explained score.

    Attributes:
        name: What it is called in metadata and messages.
        function: g(f, x, y), of symbolic arrays; None for the sum over the output of f(x) * y, which needs no nodes.
        target: What targets are, by the sizes and type of the model's output; None for weights of its shape.
        formula: What it computes, in words for the metadata.
        one_output: Whether f(x) must be one array.
        needs_target: Whether it depends on y.
        batch: The only number of samples that it takes; None for any.
        unit: "classification" or "regression": what an output of one unit is, where the graph does not tell.
    """

    name: str | None = None
    function: Function | None = None
    target: Callable[[Dims, ir.DataType], TargetKind] | None = None
    formula: str = "sum of the output times the target"
    unit: str | None = None
    one_output: bool = False
    needs_target: bool = True
    batch: int | None = None

    @property
    def linear(self) -> bool:
        """Whether it is the sum of the output times the target."""
        return self.function is None

    def target_kind(self, output: ir.Value) -> TargetKind:
        """What targets are for a model's output, the axis of samples left out."""
        assert output.dtype is not None
        dims = dims_of(output) or []
        kind = (self.target or _weights)(dims, output.dtype)
        return replace(kind, optional=not self.needs_target)

    def build(self, model: Model, target: ir.Value) -> ir.Value:
        """Appends the score to the graph.

        Args:
            model: f, with x among its attributes.
            target: y, a row for each sample.

        Returns:
            One number for each sample, (N,).

        Raises:
            OperatorError: If the function gives anything else.
        """
        assert self.function is not None
        return checked(self.function(model, model.inputs, model.array(target)))


#: The sum over the output of f(x) * y: Xplique's for classification and regression.
LINEAR = Score()


def _weights(dims: Dims, dtype: ir.DataType) -> TargetKind:
    """Targets that are weights on the output."""
    return TargetKind(dims[1:], dtype)


def checked(found: Any) -> ir.Value:
    """The value of an operator's result.

    Raises:
        OperatorError: If it is not one real number for each sample.
    """
    wanted = "expected one number for each sample, a traced array of shape (N,)"
    if not isinstance(found, Array):
        hint = " It returns nothing: is a return missing?" if found is None else ""
        raise OperatorError(f"The operator gave {type(found).__name__}; {wanted}, computed from f(x).{hint}")
    array: Array = found
    if array.ndim > 1 and all(size == 1 for size in (dims_of(array.value) or [])[1:]):
        array = array.reshape(-1)
    if array.ndim != 1:
        hint = "sum or mean over the other axes, as in (f(x) * y).sum(axis=-1)"
        if array.ndim == 0:
            hint = "name the axes to reduce, all but the first: without axis= the samples are mixed"
        raise OperatorError(f"The operator gave {array!r}; {wanted}: {hint}.")
    if array.kind not in FLOATS:
        raise OperatorError(
            f"The operator gave {array!r}, whole numbers or truth values, which have no gradient; {wanted} of floats."
        )
    return array.value
