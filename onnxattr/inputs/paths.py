"""Which files are meant: those that are named, and those of folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from onnxattr.errors import ShapeError
from onnxattr.files import AnyPath
from onnxattr.home import at_home
from onnxattr.inputs import parquet_rows, photos, sounds

#: By kind the suffixes of its files.
KINDS: dict[str, tuple[str, ...]] = {
    "photo": photos.SUFFIXES,
    "sound": sounds.SUFFIXES,
    "table": (".csv", *parquet_rows.SUFFIXES),
    "array": (".npy",),
    "arrays": (".npz",),
}
#: Pictures that ``onnxattr explain`` writes beside photos; they are no photos to be explained.
WRITTEN = ".why.png"
_LISTED = 3


def kind_of(path: AnyPath) -> str | None:
    """The kind of a file by its suffix; None for others."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    return next((kind for kind, suffixes in KINDS.items() if suffix in suffixes), None)


def files_in(paths: AnyPath | Iterable[AnyPath]) -> list[Path]:
    """The files that paths name, those of a folder in the order of their names.

    Of a folder the photos, sounds, tables or arrays right in it are taken, without hidden files, other kinds of files
    and what ``onnxattr explain`` has written.

    Raises:
        ShapeError: If one is missing or of no known kind, a folder has none, or kinds are mixed.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not given:
        raise ShapeError("No file was given; expected photos, sounds, tables or arrays, or a folder of them.")
    found: list[Path] = []
    for path in map(Path, map(at_home, given)):
        found += _of_folder(path) if path.is_dir() else [_file(path)]
    kinds = {str(kind_of(path)): path for path in reversed(found)}
    if len(kinds) > 1:
        told = ", ".join(f"{path} ({kind})" for kind, path in sorted(kinds.items()))
        raise ShapeError(f"The files are of several kinds: {told}. Give files of one kind in a call.")
    return found


def as_text(name: str) -> str:
    """The name of a file as text, whatever bytes it has."""
    return name.encode(errors="backslashreplace").decode()


def is_input(name: str) -> bool:
    """Whether a file in a folder is one of its inputs: not hidden, and not what ``onnxattr explain`` has written."""
    return not name.startswith(".") and not name.lower().endswith(WRITTEN)


def output_names(files: Sequence[Path], suffixes: Sequence[str]) -> list[Path]:
    """What is written for each file: its name with that suffix in place of its own.

    Where two files would get one name, as a.jpg and a.png do, the suffix follows the whole name.
    """
    names = [path.with_suffix(suffix) for path, suffix in zip(files, suffixes, strict=True)]
    counts = Counter(names)
    return [
        name if counts[name] == 1 else path.with_name(path.name + suffix)
        for path, suffix, name in zip(files, suffixes, names, strict=True)
    ]


def _file(path: Path) -> Path:
    kind = kind_of(path)
    if kind in ("photo", "sound", None) and not path.is_file():
        raise ShapeError(f"{path}: there is no such file or folder.")
    if kind is None:
        raise ShapeError(
            f"{path}: files of this kind are not read; expected {_expected()}, or a folder of them."
        )
    return path


def _of_folder(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise ShapeError(f"{folder} cannot be read: {error.strerror}.") from error
    shown = [entry for entry in entries if not entry.name.startswith(".")]
    found = [e for e in shown if e.is_file() and kind_of(e) is not None and is_input(e.name)]
    if found:
        return found
    inside = [entry.name for entry in shown if entry.is_dir()]
    more = f" Name its folders themselves: {_few(inside)}." if inside else ""
    what = f"; it has {_few([entry.name for entry in shown])}" if shown else ""
    raise ShapeError(f"{folder}: there is no such file; it is a folder without {_expected()}{what}.{more}")


def _expected() -> str:
    return "photos (.jpg, .png, .webp, ...), .wav, .csv, .parquet, .npy or .npz"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
