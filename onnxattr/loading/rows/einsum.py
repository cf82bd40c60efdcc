"""Which rows the result of an Einsum depends on."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxattr.loading.rows.movement import Result
from onnxattr.loading.rows.sets import nothing, over


def einsum(node: Any, seen: Any, shapes: Any) -> Result:
    """Over the axes that the result does not have; those of an ellipsis are letters of their own."""
    inputs, arrow, result = node.attributes.get_string("equation").replace(" ", "").partition("->")
    terms = inputs.split(",")
    lengths = [len(v.shape) - len(t.replace("...", "")) for t, v in zip(terms, seen, strict=True) if "." in t]
    rest = [chr(ord("\u0100") + k) for k in range(max(lengths, default=0))]
    if not arrow:
        letters = "".join(terms).replace(".", "")
        result = "..." * bool(rest) + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    result = result.replace("...", "".join(rest))
    total, sizes = nothing(len(result)), dict[str, set[int]]()
    for term, value in zip(terms, seen, strict=True):
        here = len(value.shape) - len(term.replace("...", ""))
        term = term.replace("...", "".join(rest[len(rest) - here :]))
        for letter, size in zip(term, value.shape, strict=True):
            sizes.setdefault(letter, set()).add(size)
        total = total | _placed(term, value.rows, result)
    return None if any(len(found - {1}) > 1 for found in sizes.values()) else [total]


def _placed(term: str, rows: np.ndarray, result: str) -> np.ndarray:
    """The rows of an operand of Einsum, with the axes of the result."""
    letters = list(term)
    for letter in term:
        while letters.count(letter) > 1:
            first = letters.index(letter)
            second = letters.index(letter, first + 1)
            size = max(rows.shape[first], rows.shape[second])
            full = [size if k in (first, second) else n for k, n in enumerate(rows.shape)]
            rows = np.diagonal(np.broadcast_to(rows, full), 0, first, second)
            letters = [c for k, c in enumerate(letters) if k not in (first, second)] + [letter]
    gone = tuple(k for k, letter in enumerate(letters) if letter not in result)
    rows = np.squeeze(over(rows, gone), gone)
    left = [letter for letter in letters if letter in result]
    rows = rows.transpose([left.index(letter) for letter in result if letter in left])
    sizes = iter(rows.shape)
    return rows.reshape([next(sizes) if letter in left else 1 for letter in result])
