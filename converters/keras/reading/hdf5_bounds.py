"""HDF5 weights looked at before Keras reads them: all within the file, and no larger than it can hold."""

import os
from typing import Any

from ...common.trust import damaged, untrusted

# Keras writes weights as they are. What unpacks to more than this is made to fill the memory.
SLACK_BYTES = 64 * 2**20
LARGEST_EXPANSION = 50
_MOST_OBJECTS = 1_000_000


def stored_elements(file: Any, path: str | os.PathLike[str], size: int) -> int:
    """Number of elements in all datasets of an open h5py file.

    Args:
        file: The file.
        path: Its name, for messages.
        size: Its size in bytes.

    Raises:
        ConversionError: A dataset lies in another file, or all together take far more than the file's size.
    """
    import h5py

    elements, size_unpacked, pending, seen = 0, 0, [file], set()
    while pending:
        item = pending.pop()
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            continue
        seen.add(address)
        if len(seen) > _MOST_OBJECTS:
            raise untrusted(path, f"its HDF5 data hold more than {_MOST_OBJECTS} objects")
        if isinstance(item, h5py.Group):
            pending.extend(_children(item, path))
        elif isinstance(item, h5py.Dataset):
            if item.is_virtual or item.external:
                raise untrusted(path, f"its weights {item.name!r} lie in another file")
            elements += item.size or 0
            size_unpacked += (item.size or 0) * item.dtype.itemsize
    if size_unpacked > SLACK_BYTES + LARGEST_EXPANSION * size:
        raise untrusted(
            path, f"{size / 2**20:.1f} MiB of HDF5 data unpack to {size_unpacked / 2**20:.0f} MiB of weights"
        )
    return elements


def _children(group: Any, path: str | os.PathLike[str]) -> list[Any]:
    import h5py

    found = []
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise untrusted(
                path, f"its HDF5 link {group.name}/{name} leads to another file, {link.filename!r}"
            )
        if isinstance(link, h5py.HardLink):
            found.append(group[name])
    return found


def text_attribute(file: Any, name: str, path: str | os.PathLike[str], limit: int) -> str | None:
    """A text attribute of the file's root, or None.

    Raises:
        ConversionError: It is longer than the limit, or no text.
    """
    import h5py

    if name not in file.attrs:
        return None
    stored = h5py.h5a.open(file.id, name.encode())
    if stored.shape != () or stored.dtype.kind not in "SO":
        raise damaged(path, "The HDF5 file", f"its attribute {name} is no text")
    if stored.dtype.itemsize > limit:
        raise untrusted(path, f"its attribute {name} is longer than {limit // 2**20} MiB")
    text = file.attrs[name]
    if len(text) > limit:
        raise untrusted(path, f"its attribute {name} is longer than {limit // 2**20} MiB")
    return text.decode() if isinstance(text, bytes) else str(text)
