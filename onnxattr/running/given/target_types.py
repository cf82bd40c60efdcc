"""Whether targets are numbers of the type that an operator declares."""

from __future__ import annotations

import numpy as np

from onnxattr.errors import TargetError
from onnxattr.scores.score import TargetKind


def check_kept(given: np.ndarray, array: np.ndarray, kind: TargetKind) -> None:
    """Checks that targets that an operator declares as whole numbers or truth values are what was given.

    Args:
        given: What was given.
        array: The same in the declared type.
        kind: What targets are.

    Raises:
        TargetError: If one is another number.
    """
    if array.dtype.kind not in "iub":
        return
    changed = np.argwhere(given != array)
    if len(changed):
        numbers = "0 or 1" if array.dtype == np.bool_ else f"whole numbers that {array.dtype} holds"
        raise TargetError(
            f"targets hold {given[tuple(changed[0])]} in sample {changed[0][0]}; expected {kind.what} of type "
            f"{array.dtype}, as the operator declares them: {numbers}."
        )
