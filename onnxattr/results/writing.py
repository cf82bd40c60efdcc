"""Results in the form that a file's name asks for: arrays, tables, pictures, pages."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, BinaryIO

import numpy as np

from onnxattr.errors import ParameterError, ShapeError, few
from onnxattr.files import AnyPath, is_stream, whole_file
from onnxattr.results.arrow_tables import write_parquet
from onnxattr.results.explanation import Explanation
from onnxattr.results.html import html
from onnxattr.results.sheets import sheet
from onnxattr.results.tables import table_of

PICTURES = (".png", ".svg", ".pdf")
SUFFIXES = (".npy", ".npz", ".csv", ".parquet", ".json", ".html", *PICTURES)
#: What is known of a sample, in the order of a table's columns.
_ABOUT = ("sample", "target", "target_name", "score", "baseline_score", "gap")


def suffix_of(path: AnyPath) -> str:
    """The suffix that chooses what is written; ".npy" for names without one, and for devices and FIFOs.

    Raises:
        ParameterError: If there is no such form.
    """
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix not in SUFFIXES:
        if not suffix or is_stream(path):
            return ".npy"
        raise ParameterError(
            f"{os.fspath(path)!r}: the suffix says what is written. Give a name that ends in {', '.join(SUFFIXES)}."
        )
    return suffix


def write(found: Sequence[Explanation], path: AnyPath, title: str | None = None) -> None:
    """Writes results of one method as the suffix of the file says.

    - .npy: the attributions of all samples, as one array.
    - .npz: an array for each sample that has a name of its own, else one for each explained value.
    - .csv, .parquet: a row for each sample, with a column for each feature; of maps (N, F) alone.
    - .json: for each sample its target, score, first classes, gap and attributions.
    - .html: a page that shows them, without any request to elsewhere.
    - .png, .svg, .pdf: a picture of all of them.

    Args:
        found: The results, in order; several where the samples have several shapes.
        path: The file.
        title: The heading of a picture.

    Raises:
        ParameterError: If the file cannot be written, or its form cannot hold the results.
        ShapeError: If the maps do not fit one array.
    """
    suffix = suffix_of(path)
    if suffix in PICTURES:
        sheet(found, path, title)
        return
    if suffix in (".npy", ".npz"):
        _write_arrays(found, path, suffix)
        return
    if suffix == ".parquet":
        _write_parquet(found, path)
        return
    text = _csv(found, path) if suffix == ".csv" else {".json": _json, ".html": _page}[suffix](found)
    with whole_file(path) as file:
        # The name of a model's file may hold bytes that are no text.
        file.write(text.encode(errors="backslashreplace"))


def _write_arrays(found: Sequence[Explanation], path: AnyPath, suffix: str) -> None:
    arrays = _named(found) if suffix == ".npz" else {"": _one_array(found)}
    with whole_file(path) as file:
        if suffix == ".npy":
            np.save(file, arrays[""])
        else:
            write_npz(file, arrays)


def write_npz(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by their names as a .npz file; numpy.savez has parameters named file and allow_pickle."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def _one_array(found: Sequence[Explanation]) -> np.ndarray:
    names = list(found[0].attributions)
    if len(names) > 1:
        raise ParameterError(f"A .npy file holds one array, and {names} are explained: write a .npz file.")
    parts = [each.attributions[names[0]] for each in found]
    if len({part.shape[1:] for part in parts}) > 1:
        raise ShapeError("The maps have several sizes, and a .npy file holds one array: write a .npz file.")
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _named(found: Sequence[Explanation]) -> dict[str, np.ndarray]:
    """By the names of samples where they have names, else by those of the explained values."""
    if not all(each.sample_names for each in found):
        (only,) = found
        return dict(only.attributions)
    arrays: dict[str, np.ndarray] = {}
    for each in found:
        for row, sample in enumerate(each.sample_names):
            for value, array in each.attributions.items():
                name = sample if len(each.attributions) == 1 else f"{sample}/{value}"
                while name in arrays:
                    name += "_"
                arrays[name] = array[row]
    return arrays


def _csv(found: Sequence[Explanation], path: AnyPath) -> str:
    """A line for each sample; what only some results know of theirs is empty in the lines of the others."""
    keys, about, columns, maps = _rows(found, path)
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([*keys, *columns])
    writer.writerows(
        [*(row.get(key, "") for key in keys), *values]
        for row, values in zip(about, maps.tolist(), strict=True)
    )
    return lines.getvalue()


def _write_parquet(found: Sequence[Explanation], path: AnyPath) -> None:
    """The same, null for what is not known."""
    keys, about, columns, maps = _rows(found, path)
    table: dict[str, Any] = {key: [row.get(key) for row in about] for key in keys}
    write_parquet(table | dict(zip(columns, maps.T, strict=True)), path)


def _rows(
    found: Sequence[Explanation], path: AnyPath
) -> tuple[list[str], list[dict[str, Any]], list[str], np.ndarray]:
    """What is known of samples, its names first, and their maps, names of columns first.

    Raises:
        ParameterError: If two columns have one name.
        ShapeError: If maps are not (N, F), or results have other columns.
    """
    for each in found:
        if any(array.ndim != 2 for array in each.attributions.values()):
            shapes = [array.shape for array in each.attributions.values()]
            raise ShapeError(
                f"A .csv or .parquet file holds maps (N, F); these have the shapes {shapes}: write .npy or .npz."
            )
    tables = [table_of(each, next(iter(each.attributions))) for each in found]
    columns = tables[0][0]
    if odd := next((names for names, *_ in tables if names != columns), None):
        raise ShapeError(f"The tables have the columns {few(columns)} and {few(odd)}; write them one by one.")
    about = [row for each in found for row in _about(each)]
    keys = [key for key in _ABOUT if any(key in row for row in about)]
    check_names(columns, keys, path)
    return keys, about, columns, np.concatenate([maps for _, maps, _ in tables])


def check_names(columns: Sequence[str], keys: Sequence[str], path: AnyPath) -> None:
    """Refuses a table with two columns of one name.

    Args:
        columns: Those of the maps.
        keys: Those of what is known of samples.
        path: The file.

    Raises:
        ParameterError: If there are two.
    """
    if twice := [name for name in columns if name in keys or list(columns).count(name) > 1]:
        raise ParameterError(
            f"{os.fspath(path)}: there would be two columns {twice[0]!r}; rename that of the table, or write .npz."
        )


def _about(explanation: Explanation) -> list[dict[str, Any]]:
    """What is known of each sample: its name, target, score and gap."""
    rows: list[dict[str, Any]] = []
    for row in range(explanation.sample_count):
        names = explanation.sample_names
        entry: dict[str, Any] = {"sample": names[row] if names else row}
        if explanation.targets.ndim == 1:
            entry["target"] = explanation.targets[row].item()
        if any(explanation.target_names):
            entry["target_name"] = explanation.target_names[row]
        entry["score"] = float(explanation.scores[row])
        if explanation.baseline_scores is not None:
            entry["baseline_score"] = float(explanation.baseline_scores[row])
        if explanation.relative_gap is not None:
            entry["gap"] = float(explanation.relative_gap[row])
        rows.append(entry)
    return rows


def _json(found: Sequence[Explanation]) -> str:
    """One object: the method and a list of samples. Numbers that JSON has none for are null."""
    samples = []
    for each in found:
        top = each.top() if each.predictions is not None else [[]] * each.sample_count
        for row, entry in enumerate(_about(each)):
            entry["top"] = [
                {"label": g.label, "name": g.name, "value": g.value, "probability": g.probability}
                for g in top[row]
            ]
            if each.tokens:
                entry["tokens"] = list(each.tokens[row])
            entry["attributions"] = {
                name: (array if each.one_sample else array[row]).tolist()
                for name, array in each.attributions.items()
            }
            samples.append(entry)
    first = found[0]
    about: dict[str, Any] = {
        "method": first.method,
        "model": first.model,
        "output": first.output,
        "score": first.score_name,
    }
    about |= {"score_unit": first.score_unit} if first.score_unit else {}
    about |= {name: getattr(first, name) for name in ("units", "sampling_rates") if getattr(first, name)}
    features = {name: list(columns) for name, columns in first.features.items()}
    return json.dumps(_finite(about | {"features": features, "samples": samples}), ensure_ascii=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _page(found: Sequence[Explanation]) -> str:
    body = "\n".join(html(each) for each in found)
    head = f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(found[0].method)}</title>'
    return f"{head}\n{body}\n</html>\n"
