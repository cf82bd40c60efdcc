"""Einsums that tf2onnx takes for others, or cannot write out: they stay an Einsum of ONNX.

tf2onnx makes all letters small, so that "bij,bIj->biI" becomes another sum, and fails on "..." and on a letter that
one operand has twice, whose diagonal is meant.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any


def convert_einsum(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Einsum, with small letters for its large ones where both are in it."""
    from tf2onnx.onnx_opset.math import Einsum

    node.attr["equation"].s = of_small_letters(node.get_attr_value("equation").decode()).encode()
    Einsum.version_12(ctx, node)


def of_small_letters(equation: str) -> str:
    """The same sum without large letters; those that it has in both sizes get new ones."""
    large = dict.fromkeys(letter for letter in equation if letter.isupper())
    if not any(letter.lower() in equation for letter in large):
        return equation.lower()
    free = iter(letter for letter in string.ascii_lowercase if letter not in equation)
    return equation.translate({ord(letter): next(free) for letter in large})


def kept_as_it_is(original: Callable[..., bool]) -> Callable[..., bool]:
    """`EinsumOptimizer._optimize_einsum` that writes out no Einsum it would fail on."""

    def optimize(optimizer: Any, node: Any, graph: Any) -> bool:
        equation = node.get_attr_value("equation").decode()
        terms = equation.replace("->", ",").split(",")
        if "..." in equation or any(len(set(term)) < len(term) for term in terms):
            return False
        return original(optimizer, node, graph)

    return optimize
