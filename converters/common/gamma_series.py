"""Stirling's series of the gamma function's logarithm and derivative.

Below a half they are reflected, and x is moved up by MOVED, where five terms of the series are exact to 1e-11.
"""

#: How far numbers are moved up.
MOVED = 6
#: Bernoulli's numbers B_2, B_4, ...
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66)
#: log gamma(z) = (z - 1/2) log z - z + log(2 pi) / 2 + sum of these over z^(2k - 1).
LOGARITHM = tuple(b / (2 * k * (2 * k - 1)) for k, b in enumerate(_BERNOULLI, 1))
#: Its derivative: log z - 1 / (2 z) - sum of these over z^(2k).
DERIVATIVE = tuple(b / (2 * k) for k, b in enumerate(_BERNOULLI, 1))
