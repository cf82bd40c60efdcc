"""Paths that start in a user's folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar, cast

Given = TypeVar("Given")


def at_home(given: Given) -> Given:
    """A path that starts with ~ or ~user, from that user's folder on; anything else as it is, and a file named so."""
    known: Any = given
    text = os.fspath(known) if isinstance(known, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text.startswith("~") or os.path.lexists(text):
        return given
    full = os.path.expanduser(text)
    return cast(Given, full if isinstance(known, str) else Path(full))
