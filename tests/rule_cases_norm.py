"""Rows of the normalisations."""

from rule_cases import case, w, x

CASES = [
    *(
        case("BatchNormalization", x(2, 3, *size), w(3), w(3), w(3), w(3, low=0.3))
        for size in ((), (5,), (4, 5), (2, 3, 4))
    ),
    case("BatchNormalization", x(2, 3, 4), w(3), w(3), w(3), w(3, low=0.3), epsilon=0.1),
    case("LayerNormalization", x(2, 3, 4), w(4)),
    case("LayerNormalization", x(2, 3, 4), w(4), x(4), epsilon=0.1),
    case("LayerNormalization", x(2, 3, 4), w(3, 4), w(3, 4), axis=1),
    case("LayerNormalization", x(2, 3, 4), w(2, 3, 4), axis=0),
    case("LayerNormalization", x(2, 3, 4), w(3, 4), w(4), axis=-2),
    case("InstanceNormalization", x(2, 3, 5), w(3), w(3)),
    case("InstanceNormalization", x(2, 3, 4, 5), w(3), w(3), epsilon=0.1),
]
