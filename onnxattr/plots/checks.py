"""Numbers and names that are given beside what is drawn."""

import math
from collections.abc import Sequence, Sized
from numbers import Integral
from typing import Any

from onnxattr.errors import ParameterError, ShapeError


def real(value: Any, what: str) -> float:
    """A parameter as a number, which may be NaN.

    Raises:
        ParameterError: if it is none.
    """
    try:
        if isinstance(value, (str, bytes, bool)):
            raise TypeError("text")
        return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ParameterError(f"{what}={value!r}; expected a number") from error


def finite(value: Any, what: str, above: float = -math.inf) -> float:
    """A parameter as a finite number above some other.

    Raises:
        ParameterError: if it is none.
    """
    found = real(value, what)
    if not above < found < math.inf:
        least = "" if above == -math.inf else f" above {above:g}"
        raise ParameterError(f"{what}={value!r}; expected a finite number{least}")
    return found


def require_count(value: Any, what: str) -> None:
    """Checks that a parameter is a whole number of at least 1.

    Raises:
        ParameterError: if it is not.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ParameterError(f"{what}={value!r}; expected at least 1, a whole number")


def require_one_each(what: str, given: Sized, count: int, of: str) -> None:
    """Checks that there is one text for each of what is drawn, or none.

    Raises:
        ShapeError: if there are not.
    """
    if len(given) not in (0, count):
        raise ShapeError(f"{len(given)} {what} for {count} {of}; expected one for each, or none")


def require_texts(rows: Sequence[Sequence[Any]]) -> None:
    """Checks that tokens are text.

    Raises:
        ParameterError: shows the first that is none.
    """
    other = next((token for row in rows for token in row if not isinstance(token, str)), None)
    if other is not None or any(token is None for row in rows for token in row):
        raise ParameterError(
            f"tokens hold {other!r}, which is no text; expected the tokens themselves. Of numbers a tokenizer makes "
            "them: tokenizer.convert_ids_to_tokens(ids)"
        )
