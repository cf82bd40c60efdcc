"""What is said of a file that could act while it is opened."""

import os

from onnxattr.errors import ConversionError

from .causes import cause

TRUST = "If you trust whoever made it, say so: trust=True (--trust)."


def untrusted(path: str | os.PathLike[str], reason: str, way_out: str = "") -> ConversionError:
    """The error for a file that is not opened without trust: what is in it, where, and what to do."""
    return ConversionError(
        f"onnxattr cannot load {os.fspath(path)!r} without trust: {reason}. {TRUST} {way_out}".rstrip()
    )


def damaged(path: str | os.PathLike[str], kind: str, error: Exception | str) -> ConversionError:
    """The error for a file that cannot be read as what it says it is."""
    why = error if isinstance(error, str) else cause(error)
    return ConversionError(
        f"{kind} {os.fspath(path)!r} is damaged or incomplete: {' '.join(why.split())[:300]}. Save the model again, or "
        "copy the file again from where it came."
    )
