"""The tail of the normal distribution: exp(x^2) erfc(x), which 1 - erf(x) has no digits of where erf(x) is close to 1.

From x = 1/2 on it is t P(t) with t = 2 / (2 + x), of a relative error below 2e-10, its derivative of one below 3e-9.
"""

#: From here on the polynomial holds; below, 1 - erf(x) loses nothing.
START = 0.5
#: The factors of P, of the highest power first.
FACTORS = (
    -0.0472570467596031, 0.275778907138517, -0.659823155701556, 0.793194090203345, -0.457884889526406,
    0.125795796903439, -0.103773564306179, 0.00373155293605885, 0.0828507495978472, 0.176367606829678,
    0.246830977875403, 0.282094817637304, 0.282094791717745,
)  # fmt: skip
