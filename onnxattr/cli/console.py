"""What the command line prints: one line for an error, nothing that a terminal would obey."""

from __future__ import annotations

import contextlib
import os
import sys

from onnxattr.files import AnyPath


def tell(message: str) -> None:
    """Prints one line on stderr."""
    print(printable(" ".join(message.split())), file=sys.stderr)


def printable(text: str, keep: str = "") -> str:
    """Text whose control characters, which a terminal would obey, are written as escapes."""
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def written(*paths: AnyPath) -> str:
    """What is told of the files that were written; on stderr where one of them is the standard output itself."""
    text = "\n".join(f"wrote {os.fspath(path)}" for path in paths)
    with contextlib.suppress(OSError, ValueError):
        if any(os.path.samestat(os.stat(path), os.fstat(sys.stdout.fileno())) for path in paths):
            print(printable(text, keep="\n"), file=sys.stderr)
            return ""
    return text
