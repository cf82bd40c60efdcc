"""The heaps of an HDF5 file, in which its texts lie: looked at before the HDF5 library walks through them.

The library steps from object to object by the sizes that the file states, and for ever where a size is 0.
"""

import os
import struct
from collections.abc import Iterator
from typing import Any

from ...common.trust import damaged

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: Of a heap: its name, the version, and three bytes of zeros.
_HEAP = b"GCOL\x01\0\0\0"
#: Where the first part of a file, by its version, says of how many bytes lengths are.
_BYTES_OF_LENGTHS = {0: 14, 1: 14, 2: 10, 3: 10}


def check_heaps(data: Any, path: str | os.PathLike[str]) -> None:
    """Checks that every object of every heap ends within the heap and is followed by another place.

    Args:
        data: The file, as bytes or mapped into memory.
        path: Its name, for messages.

    Raises:
        ConversionError: A heap is damaged.
    """
    width = _bytes_of_lengths(data)
    if width not in (4, 8):
        return  # no HDF5 file that the library opens
    for start in _places(data):
        if not _is_whole(data, start, width):
            raise damaged(path, "The HDF5 file", f"sizes in its heap at byte {start} do not fit")


def _bytes_of_lengths(data: Any) -> int:
    start = data.find(_SIGNATURE)
    place = start + _BYTES_OF_LENGTHS.get(data[start + 8], 14) if 0 <= start < len(data) - 16 else len(data)
    return int(data[place]) if place < len(data) else 0


def _places(data: Any) -> Iterator[int]:
    place = data.find(_HEAP)
    while place >= 0:
        yield place
        place = data.find(_HEAP, place + 1)


def _is_whole(data: Any, start: int, width: int) -> bool:
    """Whether the sizes in a heap lead to its end."""
    form = struct.Struct("<HHI" + ("Q" if width == 8 else "I"))
    place = start + len(_HEAP) + width
    place += -(place - start) % 8
    if place > len(data):
        return False
    end = start + int.from_bytes(data[start + len(_HEAP) : start + len(_HEAP) + width], "little")
    if end > len(data):
        return False
    header = form.size + -form.size % 8
    while end - place >= header:
        index, _, _, size = form.unpack_from(data, place)
        # Object 0 is what is left, its size with the header.
        step = size if index == 0 else header + size + -size % 8
        if not 0 < step <= end - place:
            return False
        place += step
    return True
