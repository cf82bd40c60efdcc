"""The modified Bessel functions of the first kind, which the exporter does not write, in 64 bits."""

from typing import Any

from ...common.bessel_series import LIMIT, far, near
from .elementwise import operators
from .wide import number, polynomial, widened


def i0(self: Any) -> Any:
    """I_0(x)."""
    return _bessel(self, 0, scaled=False)


def i0e(self: Any) -> Any:
    """exp(-|x|) I_0(x)."""
    return _bessel(self, 0, scaled=True)


def i1(self: Any) -> Any:
    """I_1(x)."""
    return _bessel(self, 1, scaled=False)


def i1e(self: Any) -> Any:
    """exp(-|x|) I_1(x)."""
    return _bessel(self, 1, scaled=True)


def _bessel(self: Any, order: int, scaled: bool) -> Any:
    """One series near 0 and one beyond, each computed of numbers of its own range."""
    op, x = operators(), widened(self)
    size, limit = op.Abs(x), number(LIMIT)
    below = op.Less(size, limit)
    inside, outside = op.Where(below, x, limit), op.Where(below, limit, size)
    share = op.Div(inside, limit)
    close = polynomial(op.Mul(share, share), near(order))
    distant = op.Div(polynomial(op.Reciprocal(outside), far(order)), op.Sqrt(outside))
    if order == 1:
        close, distant = op.Mul(op.Mul(inside, number(0.5)), close), op.Mul(op.Sign(x), distant)
    if scaled:
        close = op.Mul(close, op.Exp(op.Neg(op.Abs(inside))))
    else:
        distant = op.Mul(distant, op.Exp(outside))
    return op.CastLike(op.Where(below, close, distant), self)
