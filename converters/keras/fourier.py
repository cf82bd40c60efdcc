"""Discrete Fourier transforms as matrices: y = x @ matrix, over the last axis.

Of a transform of length n, an input that is shorter is continued by zeros and one that is longer is cut, as TensorFlow
does: rows of zeros, or none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Matrix(NamedTuple):
    """The real and the imaginary part of a complex matrix, each (size before, size behind), float64."""

    real: np.ndarray
    imaginary: np.ndarray


def whole(size: int, length: int, inverse: bool = False) -> Matrix:
    """y_k = sum_t x_t exp(-2 pi i t k / n) for all k; the inverse has the opposite sign and a factor 1 / n."""
    real, imaginary = _turns(size, length, length)
    return Matrix(real / length, imaginary / length) if inverse else Matrix(real, -imaginary)


def half(size: int, length: int) -> Matrix:
    """Of real numbers: the first length // 2 + 1 results, which determine the others."""
    real, imaginary = _turns(size, length // 2 + 1, length)
    return Matrix(real, -imaginary)


def from_half(size: int, length: int) -> Matrix:
    """The inverse of `half`: y = real(x) @ real + imaginary(x) @ imaginary.

    Each of the results that were left out is the conjugate of one that is there, which counts twice.
    """
    real, imaginary = _turns(size, length, length)
    k = np.arange(size)[:, None]
    times = np.where((k == 0) | (2 * k == length), 1.0, 2.0) * (k <= length // 2) / length
    return Matrix(times * real, -times * imaginary)


def _turns(size: int, columns: int, length: int) -> Matrix:
    """cos and sin of 2 pi row column / length; 0 in rows from the length on.

    What is 0 is so to the last bit, as the sign of an imaginary part decides between phases of pi and -pi.
    """
    rows = np.arange(size, dtype=np.int64)
    turns = np.outer(rows, np.arange(columns, dtype=np.int64)) % length / length
    inside = (rows < length)[:, None]
    parts = (inside * function(2 * np.pi * turns) for function in (np.cos, np.sin))
    return Matrix(*(np.where(np.abs(part) < 1e-15, 0.0, part) for part in parts))
