"""Several methods in one folder: an explainer each, beside one file of weights."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from onnxattr.attributions.base import Attribution
from onnxattr.attributions.exporting import check_choices, takes_baseline
from onnxattr.errors import ParameterError
from onnxattr.files import made_folder
from onnxattr.home import at_home
from onnxattr.loading.weights.shared_data import Member, check_members, write_together
from onnxattr.running.explainers.record import recorded

#: What a file system or an address gives a meaning of its own.
_RESERVED = '/\\:*?"<>|#%'

Methods = Iterable[Attribution] | Mapping[str, Attribution]


def export(
    methods: Methods,
    folder: str | os.PathLike[str],
    rendering: str = "auto",
    *,
    target: str = "auto",
    baseline_input: bool = False,
    check: bool = True,
) -> dict[str, Path]:
    """Writes explainers of several methods into a folder, beside one data file with the weights that they share.

    Each file is what the method's own ``export`` writes, with the same numbers, but for its weights: these stand in
    ``weights-<checksum>.data``, each once. All files of a folder are moved together. The name of the data file holds
    its checksum, so that no runtime reads that of another export; ``onnxattr.load`` compares the content too.

    Args:
        methods: Methods, whose files are called by their names; or a mapping from names of files to methods, for
            instance ``{"fast": IntegratedGradients(model, steps=16), "exact": IntegratedGradients(model, steps=200)}``.
            They may be on several models; what these have in common is stored once.
        folder: The folder to write; made if it is not there. Other files in it stay.
        rendering: See ``Attribution.export``; "loop" is for the methods that repeat gradients.
        target: See ``Attribution.export``.
        baseline_input: See ``Attribution.export``; for the methods that start at one baseline.
        check: Whether each file is run once before any gets its name; see ``Attribution.export``.

    Returns:
        The file of each method by its name.

    Raises:
        ModelError: If one of the methods cannot be exported, or the check fails; then no file is written.
        ParameterError: If no methods are given, two have one name, or a file cannot be written.
    """
    named = _named(methods)
    check_choices(rendering, target)
    check_folder(folder)
    home = Path(at_home(folder))
    loops = [name for name, method in named.items() if not method._plan.request.method.single]
    starts = [name for name, method in named.items() if takes_baseline(method._plan.request)]
    paths = {name: home / f"{name}.onnx" for name in named}
    reads = list(dict.fromkeys(file for method in named.values() for file in method.files_read))
    if home.exists():
        check_members(list(paths.values()), reads)

    def make(name: str) -> onnx.ModelProto:
        # Where no method can do what was asked for, the first one says so.
        own = "auto" if rendering == "loop" and loops and name not in loops else rendering
        start = baseline_input and (name in starts or not starts)
        return named[name].explainer(own, target=target, baseline_input=start)

    def look(name: str, proto: onnx.ModelProto, path: Path) -> bytes:
        method = named[name]
        return recorded(proto, method.prepared, method.providers, method.sizes, check)(path)

    members = [
        Member(path, partial(make, name), named[name].prepared.folder, partial(look, name))
        for name, path in paths.items()
    ]
    with made_folder(home):
        write_together(members, reads)
    return paths


def _named(methods: Any) -> dict[str, Attribution]:
    """The methods by the names of their files."""
    if isinstance(methods, Attribution):
        methods = [methods]
    if not isinstance(methods, (Mapping, Iterable)) or isinstance(methods, (str, bytes)):
        raise ParameterError(f"methods={methods!r}: expected methods, or a mapping from names to methods.")
    mapped = isinstance(methods, Mapping)
    pairs = list(methods.items() if isinstance(methods, Mapping) else ((None, each) for each in methods))
    if not pairs:
        raise ParameterError("methods is empty: give the methods to export.")
    found: dict[str, Attribution] = {}
    for key, method in pairs:
        if not isinstance(method, Attribution):
            raise ParameterError(
                f"methods holds {method!r}: expected methods on a model, such as Saliency('model.onnx')."
            )
        name = _checked_name(key) if mapped else method.name
        if name.lower() in (other.lower() for other in found):
            raise ParameterError(
                f"Two methods would be written into {name}.onnx. Name the files: "
                'export({"first": ..., "second": ...}, folder).'
            )
        found[name] = method
    return found


def _checked_name(key: Any) -> str:
    """A key of the mapping as the name of a file, without its suffix."""
    name = key.removesuffix(".onnx") if isinstance(key, str) else ""
    if not name or name != name.strip(" .") or not name.isprintable() or set(name) & set(_RESERVED):
        raise ParameterError(
            f"methods has the name {key!r}: expected the name of a file, without a folder and any of {_RESERVED}"
        )
    return name


def check_folder(folder: Any) -> None:
    """Checks that a path is a folder's, or can be.

    Raises:
        ParameterError: If it is empty, a file, or named as a file is.
    """
    if not isinstance(folder, (str, os.PathLike)) or not os.fspath(folder):
        raise ParameterError(f"folder={folder!r}: expected the path of a folder.")
    folder = at_home(folder)
    taken = os.path.exists(folder) and not os.path.isdir(folder)
    if taken or Path(folder).suffix == ".onnx":
        what = "is a file" if taken else "is named as a file is"
        raise ParameterError(
            f"{os.fspath(folder)} {what}: several methods are written into a folder, a file each beside one with "
            "their weights. Give the path of a folder."
        )
