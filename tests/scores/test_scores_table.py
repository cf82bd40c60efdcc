"""Method x score x rendering against TensorFlow's tape; the whole table is slow, a part of it is not."""

import pytest

pytest.importorskip("xplique", reason="the comparison needs Xplique and TensorFlow")

from verification.compare import tolerance_of
from verification.scores import FAST_KINDS, FAST_METHODS, KINDS, METHODS, errors

ALL = [(kind, method) for kind in KINDS for method in METHODS]
FAST = [(kind, method) for kind in FAST_KINDS for method in FAST_METHODS]


@pytest.mark.parametrize(
    ("kind", "method"),
    [pytest.param(*cell, marks=() if cell in FAST else pytest.mark.slow) for cell in ALL],
)
def test_each_cell_agrees_with_the_tape(kind, method):
    found = errors(kind, method)
    assert max(found.values()) <= tolerance_of(method), found
