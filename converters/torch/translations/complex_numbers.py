"""Operators of PyTorch on complex numbers, which the exporter holds as floats with a last axis of two parts.

It has forms of some of them. The others are written here, as Fourier neural operators use them.
"""

import functools
import importlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from .elementwise import angle_of, operators

# Of ONNX's types.
_KINDS = (14, 15)  # COMPLEX64, COMPLEX128
_FLOAT, _DOUBLE = 1, 11


def table(torch: Any) -> dict[Any, Callable[..., Any]]:
    """PyTorch's operator -> what writes it where it takes or gives complex numbers."""
    aten = torch.ops.aten
    along = {
        aten.cumsum.default: "aten_cumsum",
        aten.index_select.default: "aten_index_select",
        aten.select.int: "aten_select",
        aten.unsqueeze.default: "aten_unsqueeze",
    }
    into = {
        aten.select_scatter.default: "aten_select_scatter",
        aten.slice_scatter.default: "aten_slice_scatter",
    }
    pieces = {
        aten.split.Tensor: "aten_split",
        aten.split_with_sizes.default: "aten_split_with_sizes",
        aten.unbind.int: "aten_unbind",
    }
    created = {
        aten.empty.memory_format: 0.0,
        aten.ones.default: 1.0,
        aten.zeros.default: 0.0,
    }
    alike = {aten.empty_like.default: 0.0, aten.ones_like.default: 1.0, aten.zeros_like.default: 0.0}
    return {
        **{key: functools.partial(_along, name, 1) for key, name in along.items()},
        **{key: functools.partial(_along, name, 2) for key, name in into.items()},
        **{key: functools.partial(_pieces, name) for key, name in pieces.items()},
        **{key: functools.partial(_created, value) for key, value in created.items()},
        **{key: functools.partial(_alike, value) for key, value in alike.items()},
        aten._to_copy.default: _cast,
        aten.alias.default: _same,
        aten.bmm.default: _matrix_product,
        aten.constant_pad_nd.default: _padded,
        aten.copy.default: _copied,
        aten.detach.default: _same,
        aten.einsum.default: _einsum,
        aten.exp.default: _exp,
        aten.expand.default: lambda self, size, **_: _torchlib("aten_expand")(self, [*size, 2]),
        aten.fill.Tensor: _copied,
        aten.full.default: lambda size, value, **named: _created(value, size, **named),
        aten.gather.default: _gathered,
        aten.index.Tensor: lambda self, indices: _torchlib("aten_index")(self, indices),
        aten.index_put.default: lambda self, *rest: _torchlib("aten_index_put")(self, *rest),
        aten.linalg_vector_norm.default: _norm,
        aten.linear.default: _linear,
        aten.log.default: _log,
        aten.masked_fill.Scalar: lambda self, mask, value: _chosen(mask, _number(value, self), self),
        aten.masked_fill.Tensor: lambda self, mask, value: _chosen(mask, value, self),
        aten.mm.default: _matrix_product,
        aten.mul.Scalar: _product,
        aten.mul.Tensor: _product,
        aten.new_ones.default: lambda self, size, **named: _created(1.0, size, **named),
        aten.new_zeros.default: lambda self, size, **named: _created(0.0, size, **named),
        aten.pad.default: _padded,
        aten.pow.Tensor_Scalar: _power,
        aten.repeat.default: lambda self, repeats: _torchlib("aten_repeat")(self, [*repeats, 1]),
        aten.where.self: _chosen,
    }


def dispatching(original: Callable[..., Any], torch: Any) -> Callable[..., Any]:
    """The exporter's choice of a form, and ours where it has none of complex numbers."""
    written = table(torch)

    def dispatch(node: Any, registry: Any) -> Any:
        found = original(node, registry)
        given, made = any(map(_is_complex, node.all_input_nodes)), _is_complex(node)
        if node.target not in written or not (given or made) or (given and found[0] is not None):
            return found
        return functools.partial(_of_pairs, written[node.target], node), "onnxattr"

    return dispatch


def _is_complex(node: Any) -> bool:
    return bool(getattr(getattr(node.meta.get("val"), "dtype", None), "is_complex", False))


def _of_pairs(write: Callable[..., Any], node: Any, *given: Any, **named: Any) -> Any:
    """Calls a form with pairs for the real numbers among its operands, but for its indices and masks."""
    schema = node.target._schema.name
    all_kinds = schema in ("aten::_to_copy", "aten::copy", "aten::fill")

    def paired(value: Any, of: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [paired(*part) for part in zip(value, of, strict=True)]
        kind = getattr(getattr(of, "meta", {}).get("val"), "dtype", None)
        if kind is None or kind.is_complex or not (all_kinds or kind.is_floating_point):
            return value
        return _joined(value, _zero_of(value))

    if not _is_complex(node):  # a norm
        return write(*given, **named)
    likes = schema.endswith(("_like", "new_ones", "new_zeros"))
    values = given if likes else [paired(*part) for part in zip(given, node.args, strict=True)]
    return write(*values, **named)


def _torchlib(name: str) -> Any:
    """The exporter's form of real numbers, which is that of pairs where it leaves the last axis alone."""
    return getattr(importlib.import_module("onnxscript.function_libs.torch_lib.ops.core"), name)


def _axis(dim: int) -> int:
    return dim if dim >= 0 else dim - 1


def _along(name: str, tensors: int, *given: Any, **named: Any) -> Any:
    """A form with an axis behind its first tensors."""
    values, dim, rest = given[:tensors], given[tensors : tensors + 1], given[tensors + 1 :]
    return _torchlib(name)(*values, _axis(dim[0] if dim else named.pop("dim", 0)), *rest, **named)


def _pieces(name: str, self: Any, *given: Any) -> Any:
    """A form with an axis as its last operand, 0 if it is left out."""
    sizes, dim = given[: name != "aten_unbind"], given[name != "aten_unbind" :]
    return _torchlib(name)(self, *sizes, _axis(dim[0] if dim else 0))


def _parts(z: Any) -> tuple[Any, Any]:
    op = operators()
    real, imaginary = (op.Gather(z, op.Constant(value_int=place), axis=-1) for place in (0, 1))
    return real, imaginary


def _joined(real: Any, imaginary: Any) -> Any:
    op, last = operators(), operators().Constant(value_ints=[-1])
    return op.Concat(op.Unsqueeze(real, last), op.Unsqueeze(imaginary, last), axis=-1)


def _zero_of(x: Any) -> Any:
    op = operators()
    return op.Expand(op.CastLike(0.0, x), op.Shape(x))


def _number(value: Any, like: Any) -> Any:
    """A number of Python as a pair."""
    op, value = operators(), complex(value)
    return op.CastLike(op.Constant(value_floats=[value.real, value.imag]), like)


def _created(value: Any, size: Sequence[Any], dtype: int = _KINDS[0], **_: Any) -> Any:
    """An array of one number."""
    op = operators()
    if dtype != -1 and dtype not in _KINDS:
        return op.Expand(op.Cast(float(value), to=dtype), list(size))
    pair = op.Constant(value_floats=[complex(value).real, complex(value).imag])
    return op.Expand(op.Cast(pair, to=_DOUBLE) if dtype == _KINDS[1] else pair, [*size, 2])


def _alike(value: float, self: Any, dtype: int | None = None, **_: Any) -> Any:
    """An array of one number, of the shape of another."""
    op = operators()
    if dtype in (None, -1):
        return op.Expand(_number(value, self), op.Shape(self))
    if dtype not in _KINDS:
        return op.Expand(op.Cast(value, to=dtype), op.Shape(self, end=-1))
    raise NotImplementedError(
        "zeros_like and ones_like with a complex dtype; supported: torch.zeros, torch.ones"
    )


def _cast(self: Any, dtype: int = -1, **_: Any) -> Any:
    op = operators()
    if dtype == -1:
        return op.Identity(self)
    if dtype in _KINDS:
        return op.Cast(self, to=_DOUBLE if dtype == _KINDS[1] else _FLOAT)
    return op.Cast(_parts(self)[0], to=dtype)


def _same(self: Any) -> Any:
    return operators().Identity(self)


def _copied(self: Any, src: Any, non_blocking: bool = False) -> Any:
    op = operators()
    return op.Expand(op.CastLike(src, self), op.Shape(self))


def _chosen(condition: Any, self: Any, other: Any) -> Any:
    op = operators()
    return op.Where(op.Unsqueeze(condition, op.Constant(value_ints=[-1])), self, other)


def _gathered(self: Any, dim: int, index: Any, sparse_grad: bool = False) -> Any:
    op = operators()
    places = op.Unsqueeze(index, op.Constant(value_ints=[-1]))
    both = op.Concat(op.Shape(index), op.Constant(value_ints=[2]), axis=0)
    return op.GatherElements(self, op.Expand(places, both), axis=_axis(dim))


def _padded(self: Any, pad: Sequence[Any], *given: Any, value: Any = None) -> Any:
    """Zeros around; `pad` is given with or without a mode in front of its value."""
    settings = [part for part in (*given, value) if part not in ("constant", None)]
    if any(isinstance(part, str) or part for part in settings):
        raise NotImplementedError(f"pad of complex numbers with {settings}; supported: zeros")
    return _torchlib("aten_constant_pad_nd")(self, [0, 0, *pad], 0.0)


def _multiplied(product: Callable[..., Any], *factors: Any) -> Any:
    """A product that is linear in each factor, of its real and imaginary parts."""
    op = operators()
    sums: list[Any] = [None, None]
    parts = [_parts(factor) for factor in factors]
    for chosen in itertools.product((0, 1), repeat=len(factors)):
        term = product(*(part[place] for part, place in zip(parts, chosen, strict=True)))
        turns = sum(chosen) % 4  # i to that power
        before = sums[turns % 2]
        if before is None:
            sums[turns % 2] = term
        else:
            sums[turns % 2] = op.Sub(before, term) if turns > 1 else op.Add(before, term)
    return _joined(*sums)


def _einsum(equation: str, tensors: Sequence[Any], path: Any = None) -> Any:
    op = operators()
    return _multiplied(lambda *parts: op.Einsum(*parts, equation=equation.replace(" ", "")), *tensors)


def _matrix_product(self: Any, mat2: Any) -> Any:
    return _multiplied(operators().MatMul, self, mat2)


def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    op = operators()
    turned = op.Transpose(weight, perm=[1, 0, 2])
    product = _multiplied(op.MatMul, input, turned)
    return product if bias is None else op.Add(product, bias)


def _product(self: Any, other: Any) -> Any:
    other = _number(other, self) if isinstance(other, (int, float, complex)) else other
    return _multiplied(operators().Mul, self, other)


def _power(self: Any, exponent: Any) -> Any:
    if exponent not in (1, 2, 3, 4):
        raise NotImplementedError(f"a complex number to the power of {exponent}; supported: 1, 2, 3, 4")
    return functools.reduce(_product, [self] * int(exponent))


def _exp(self: Any) -> Any:
    op, (real, imaginary) = operators(), _parts(self)
    size = op.Exp(real)
    return _joined(op.Mul(size, op.Cos(imaginary)), op.Mul(size, op.Sin(imaginary)))


def _log(self: Any) -> Any:
    op, (real, imaginary) = operators(), _parts(self)
    return _joined(op.Log(_size(self)), angle_of(imaginary, real))


def _size(self: Any) -> Any:
    return operators().ReduceL2(self, operators().Constant(value_ints=[-1]), keepdims=0)


def _norm(self: Any, *given: Any, **named: Any) -> Any:
    """A norm of the absolute values."""
    linalg = importlib.import_module("onnxscript.function_libs.torch_lib.ops.linalg")
    return linalg.aten_linalg_vector_norm(_size(self), *given, **named)
