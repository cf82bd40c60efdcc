"""Rows of the elementwise rules."""

import numpy as np

from support.rule_cases import case, const, feed, w, x

MASK = np.array([[True, False, True], [False, False, True]])

CASES = [
    # Arithmetic, with every pairing of broadcast axes.
    *(
        case(op, x(*a), x(*b, low=0.5))
        for op in ("Add", "Sub", "Mul", "Div", "Max", "Min")
        for a, b in (((2, 3), (2, 3)), ((2, 3), (3,)), ((1, 3), (2, 1)), ((), (2, 3)), ((2, 1, 4), (3, 1)))
    ),
    case("Mul", x(2, 3), w(3)),
    case("Sub", w(3), x(2, 3)),
    case("Div", w(1), x(2, 3, low=0.5)),
    case("Div", x(2, 3), x(2, 1, low=-2, high=-0.5), label="negative-divisor"),
    case("Pow", x(2, 3, low=0.3), x(2, 3)),
    case("Pow", x(2, 3), const(2.0, np.float32)),
    case("Pow", x(2, 3), const(3), label="integer-exponent"),
    case("Pow", x(2, 3), const(3, np.int32), label="int32-exponent"),
    case("Pow", x(2, 3, low=0.3), const(-1.5, np.float32)),
    case("Pow", x(2, 1, low=0.3), x(3)),
    case("Pow", w(2, 3, low=0.3), x(3), label="exponent-only"),
    case("Sum", x(2, 3)),
    case("Sum", x(2, 3), x(3), x(2, 1)),
    case("Mean", x(2, 3)),
    case("Mean", x(2, 3), x(3), x(2, 1)),
    case("Max", x(2, 3)),
    case("Max", x(2, 3), x(3), x(2, 1)),
    case("Min", x(2, 3), x(3), x(2, 1)),
    case("Max", x(2, 3), const(0.0, np.float32)),
    case("Min", const(0.5, np.float32), x(2, 3)),
    case("Mod", x(2, 3, low=3, high=4), x(2, 3, low=1.1, high=1.4), fmod=1),
    case("Mod", x(2, 3, low=-4, high=-3), x(3, low=1.1, high=1.4), fmod=1),
    case("Where", feed(MASK, bool), x(2, 3), x(2, 3)),
    case("Where", const(MASK, bool), x(3), x(2, 1)),
    case("Where", const(MASK[:1], bool), x(2, 3), w(2, 3)),
    case("Where", const(MASK[:, :1], bool), w(), x(2, 3)),
    case("Range", x(low=0, high=0.1), const(3.5, np.float32), x(low=0.9, high=1)),
    case("Cast", x(2, 3), to=1),
    case("CastLike", x(2, 3), w(1)),
    case("Identity", x(2, 3)),
    *(
        case(op, x(2, 3))
        for op in ("Neg", "Abs", "Exp", "Erf", "Sin", "Cos", "Atan", "Sinh", "Cosh", "Asinh")
    ),
    *(case(op, x(2, 3, low=0.3)) for op in ("Reciprocal", "Sqrt", "Log")),
    *(case(op, x(2, 3, low=-0.9, high=0.9)) for op in ("Tan", "Asin", "Acos", "Atanh")),
    case("Reciprocal", x(2, 3, low=-2, high=-0.3), label="negative"),
    case("Acosh", x(2, 3, low=1.2)),
    case("Neg", x(), label="scalar"),
    case("Exp", x(0, 3), label="empty"),
]
