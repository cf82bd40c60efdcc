"""Types of the results of elementwise operators, as ONNX's inference gives them, without asking it.

Half of the nodes of a gradient are such, and a question to onnx's inference costs more than writing the node.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import onnx
import onnx_ir as ir

from onnxattr.graph.values import dims_of

Dims = Sequence[int | str | None]

#: Operators whose operands are broadcast to each other, and whose result has that shape.
OPERATORS = frozenset(
    """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh Ceil Cos Cosh Div Equal Erf Exp Floor Greater GreaterOrEqual Identity
    Less LessOrEqual Log Mul Neg Not Or Pow Reciprocal Relu Round Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Tan
    Tanh Where Xor
    """.split()
)
#: From this opset on they broadcast as they do today.
_SINCE = 13


class _Dtypes(NamedTuple):
    """What a schema says of dtypes.

    Attributes:
        variables: The type variable of each input.
        accepted: By type variable, the dtypes that it may stand for.
        result: The type variable of the output.
    """

    variables: tuple[str, ...]
    accepted: dict[str, frozenset[ir.DataType]]
    result: str


@functools.cache
def _dtypes(op_type: str, opset: int) -> _Dtypes:
    schema = onnx.defs.get_schema(op_type, opset, "")
    accepted = {
        constraint.type_param_str: frozenset(
            ir.DataType[name.removeprefix("tensor(").removesuffix(")").upper()]
            for name in constraint.allowed_type_strs
            if name.startswith("tensor(")
        )
        for constraint in schema.type_constraints
    }
    return _Dtypes(tuple(formal.type_str for formal in schema.inputs), accepted, schema.outputs[0].type_str)


def elementwise(node: ir.Node, opset: int) -> tuple[ir.DataType, list[int | str | None] | None] | None:
    """The dtype and the sizes of the output of an elementwise node of ai.onnx.

    Returns:
        None for other nodes, and where inference has to say what is wrong.
    """
    if node.op_type not in OPERATORS or opset < _SINCE or node.attributes.data or len(node.outputs) != 1:
        return None
    variables, accepted, result = _dtypes(node.op_type, opset)
    if len(node.inputs) != len(variables):
        return None
    dtypes: dict[str, ir.DataType] = {}
    for value, variable in zip(node.inputs, variables, strict=True):
        dtype = None if value is None else value.dtype
        if dtype is None or dtypes.setdefault(variable, dtype) != dtype or dtype not in accepted[variable]:
            return None
    # What no operand has is the only dtype that a result may have.
    dtype = dtypes[result] if result in dtypes else next(iter(accepted[result]))
    shapes = [dims_of(value) for value in node.inputs]
    known = [dims for dims in shapes if dims is not None]
    if any(isinstance(size, int) and size < 0 for dims in known for size in dims):
        return None
    if len(known) < len(shapes):
        return dtype, None
    sizes = known[0] if len(known) == 1 else broadcast(known)
    return None if sizes is None else (dtype, sizes)


def broadcast(shapes: Sequence[Dims]) -> list[int | str | None] | None:
    """The shape that shapes are broadcast to, an unknown size where it could be either of two; None for a clash."""
    rank = max(map(len, shapes))
    padded: list[Dims] = [[*[1] * (rank - len(dims)), *dims] for dims in shapes]
    sizes: list[int | str | None] = []
    for parts in zip(*padded, strict=True):
        numbers = {size for size in parts if isinstance(size, int)} - {1}
        names = {size for size in parts if not isinstance(size, int)}
        if len(numbers) > 1:
            return None
        if numbers or not names:
            sizes.append(numbers.pop() if numbers else 1)
        else:
            sizes.append(names.pop() if len(names) == 1 else None)
    return sizes
