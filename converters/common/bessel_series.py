"""Series of the modified Bessel functions of the first kind, of order 0 and 1, exact to 1e-15.

Up to LIMIT, I_v(x) = (x / 2)^v sum of (x^2 / 4)^k / (k! (k + v)!), whose terms are all positive. Beyond it
exp(-x) sqrt(2 pi x) I_v(x) = sum of (-1)^k (4 v^2 - 1) (4 v^2 - 9) ... (4 v^2 - (2 k - 1)^2) / (k! (8 x)^k).
"""

import math

#: From here on the second series is taken.
LIMIT = 20.0
_NEAR_TERMS, _FAR_TERMS = 42, 20


def near(order: int) -> list[float]:
    """The factors of (x / LIMIT)^(2 k), that of the highest power first: not those of x^(2 k).

    With those, down to 1e-100, ONNX Runtime's optimiser gave results of 32 bits.
    """
    square = LIMIT**2 / 4
    return [square**k / (math.factorial(k) * math.factorial(k + order)) for k in reversed(range(_NEAR_TERMS))]


def far(order: int) -> list[float]:
    """The factors of x^-k over sqrt(2 pi), that of the highest power first."""
    factors = [1 / math.sqrt(2 * math.pi)]
    for k in range(1, _FAR_TERMS):
        factors.append(-factors[-1] * (4 * order**2 - (2 * k - 1) ** 2) / (8 * k))
    return factors[::-1]
