"""Attributes of other packages replaced for a while."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any


@contextlib.contextmanager
def patched(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """`owner.name` is `replacement` inside the `with` block, and what it was, or nothing, after it."""
    missing = object()
    own = owner.__dict__.get(name, missing)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        if own is missing:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


@contextlib.contextmanager
def first_refusal(refused: Sequence[Exception]) -> Iterator[None]:
    """Leaves the block with the first of the errors that its code noted in the list, whatever comes of it.

    A framework makes errors of its own of those that pass through a layer.
    """
    try:
        yield
    except Exception as error:
        if refused and error is not refused[0]:
            raise refused[0] from error
        raise
