"""Matrix products of groups of rows, with which mixtures of experts compute; the exporter does not write them."""

from typing import Any

from .elementwise import operators


def grouped_product(input: Any, weight: Any, offs: Any) -> Any:
    """Rows offs[e - 1] to offs[e] of (S, K) times matrix e of (E, K, N), and 0 for those behind the last group.

    Each matrix takes all rows, and what is not of its group is left out.
    """
    op = operators()
    int64 = 7
    rows = op.Squeeze(op.Shape(input, start=0, end=1), op.Constant(value_ints=[0]))
    place = op.Range(op.Constant(value_int=0), rows, op.Constant(value_int=1))
    ends = op.Unsqueeze(op.Cast(offs, to=int64), op.Constant(value_ints=[1]))
    begins = op.Pad(
        op.Slice(ends, *(op.Constant(value_ints=[at]) for at in (0, -1, 0))),
        op.Constant(value_ints=[1, 0, 0, 0]),
    )
    inside = op.And(op.GreaterOrEqual(place, begins), op.Less(place, ends))
    products = op.MatMul(op.Unsqueeze(input, op.Constant(value_ints=[0])), weight)
    none = op.CastLike(op.Constant(value_float=0.0), input)
    chosen = op.Where(op.Unsqueeze(inside, op.Constant(value_ints=[2])), products, none)
    return op.ReduceSum(chosen, op.Constant(value_ints=[0]), keepdims=0)


def grouped_product_of_torch(
    self: Any, mat2: Any, offs: Any = None, bias: Any = None, out_dtype: int | None = None
) -> Any:
    """That of torch.nn.functional.grouped_mm.

    Raises:
        NotImplementedError: For groups of another axis, or another type.
    """
    if (
        offs is None
        or bias is not None
        or out_dtype is not None
        or (len(self.shape), len(mat2.shape)) != (2, 3)
    ):
        raise NotImplementedError(
            "grouped_mm of other shapes than (rows, width) and (groups, width, outputs)"
        )
    return grouped_product(self, mat2, offs)
