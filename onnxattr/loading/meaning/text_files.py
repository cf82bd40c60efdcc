"""Text and JSON files that a caller gives for a list of texts."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onnxattr.errors import ParameterError
from onnxattr.home import at_home


def text_of(path: str | os.PathLike[str], largest: int) -> str:
    """The text of a regular file of UTF-8.

    Args:
        path: The file.
        largest: The most bytes.

    Raises:
        OSError: If it is missing, a FIFO or a device, which may never end, or cannot be read.
        ValueError: If it has more bytes, or is no UTF-8.
    """
    if not os.path.isfile(path):
        raise OSError("there is no such file")
    with open(path, "rb") as file:
        # Files of /proc have the size 0.
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it has more than {largest} bytes")
    return content.decode("utf-8-sig")


def read_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: If it is no JSON, or one object has a name twice, of which readers of JSON keep the last.
        RecursionError: If it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_each_once)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise ValueError(f"{next(name for name in names if names[name] > 1)!r:.80} is in one object twice")
    return found


def read_texts(
    path: str | os.PathLike[str],
    option: str,
    expected: str,
    largest: int,
    lines: Callable[[str], list[str]],
    parsed: Callable[[Any], Any] = lambda found: found,
) -> Any:
    """What a ``.txt`` or ``.json`` file holds.

    Args:
        path: The file.
        option: The parameter that it was given for, for messages.
        expected: What that parameter takes, for messages.
        largest: The most bytes.
        lines: The texts of a ``.txt`` file's content.
        parsed: What is made of the value of a ``.json`` file; raises ValueError if that is no list of texts.

    Raises:
        ParameterError: If it has another suffix, is too large, or cannot be read.
    """
    path = at_home(path)
    suffix = Path(path).suffix.lower()
    if suffix not in (".txt", ".json"):
        raise ParameterError(f"{option}={str(path)!r}: expected {expected}.")
    try:
        text = text_of(path, largest)
        return lines(text) if suffix == ".txt" else parsed(read_json(text))
    except (OSError, ValueError, RecursionError) as error:
        raise ParameterError(f"{option}: {path} cannot be read: {error}. Expected {expected}.") from error
