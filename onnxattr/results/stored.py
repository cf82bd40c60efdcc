"""Explanations in files: a .npz of plain arrays and one text, so that opening a file runs nothing."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxattr.errors import ParameterError
from onnxattr.files import whole_file
from onnxattr.home import at_home
from onnxattr.results.explanation import Explanation

VERSION = 1
#: The entry that says what the others are; a JSON text.
_ABOUT = "about"
_GROUPS = ("attributions", "inputs")
_ARRAYS = ("targets", "scores")
_OPTIONAL = ("baseline_scores", "delta", "relative_gap", "spent_steps", "predictions")
_TEXTS = ("method", "model", "output", "score_name")
#: Entries that files of before do not have.
_NEW = ("prediction_kind", "sample_names", "seen", "units", "sampling_rates", "score_unit")
_SAID: dict[str, type] = {"units": dict, "sampling_rates": dict, "score_unit": str}
#: The number types that files hold; bfloat16, which NumPy lacks, is written as uint16.
_KINDS, _BFLOAT16 = "fiub", "bfloat16"


def save(explanation: Explanation, path: str | os.PathLike[str]) -> None:
    """Writes an explanation; see ``Explanation.save``."""
    if not os.fspath(path).lower().endswith(".npz"):
        raise ParameterError(f"path={os.fspath(path)!r}: expected a name that ends in .npz.")
    arrays: dict[str, np.ndarray] = {}
    halves: list[str] = []

    def add(key: str, array: np.ndarray) -> None:
        if array.dtype.name == _BFLOAT16:
            halves.append(key)
        arrays[key] = array.view(np.uint16) if array.dtype.name == _BFLOAT16 else array

    for group in _GROUPS:
        for place, array in enumerate(getattr(explanation, group).values()):
            add(f"{group}/{place}", array)
    for name in (*_ARRAYS, *_OPTIONAL):
        if (array := getattr(explanation, name)) is not None:
            add(name, array)
    about = {name: getattr(explanation, name) for name in _TEXTS}
    about |= {group: list(getattr(explanation, group)) for group in _GROUPS}
    about |= {name: getattr(explanation, name) for name in ("axes", "features", "tokens", "classes", "layer")}
    about |= {name: getattr(explanation, name) for name in _NEW}
    about |= {name: getattr(explanation, name) for name in ("target_names", "one_sample", "as_dict")}
    about |= {"parameters": explanation.parameters, _BFLOAT16: halves, "version": VERSION}
    text = json.dumps(about, default=_as_json)
    arrays[_ABOUT] = np.frombuffer(text.encode(), np.uint8)
    with whole_file(path) as file:
        write: Callable[..., None] = np.savez
        write(file, **arrays)


def load(path: str | os.PathLike[str]) -> Explanation:
    """Reads an explanation; see ``Explanation.load``."""
    path = at_home(path)
    try:
        arrays = _arrays_of(path)
        about = json.loads(arrays.pop(_ABOUT).tobytes().decode())
        version = about["version"]
        if not isinstance(version, int) or version < 1:
            raise ValueError(f"version {version!r}")
    except Exception as error:
        # What NumPy, zipfile, zlib and json raise on damaged files is no closed list.
        raise _unreadable(path, error) from error
    if version > VERSION:
        raise ParameterError(
            f"{os.fspath(path)} was written by a later version of onnxattr (format {version}; this one reads up to "
            f"{VERSION}): update onnxattr."
        )
    try:
        return _explanation(about, arrays)
    except Exception as error:
        raise _unreadable(path, error) from error


def _arrays_of(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    if not os.path.isfile(path):
        raise OSError("there is no such file")
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no .npz file")
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("it is compressed, so that its size is not known before it is read")
    with np.load(path, allow_pickle=False) as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    wrong = [
        name for name, a in arrays.items() if not isinstance(a, np.ndarray) or a.dtype.kind not in _KINDS
    ]
    if wrong or _ABOUT not in arrays:
        raise ValueError(f"{wrong[:3]} are no numbers" if wrong else f"there is no entry {_ABOUT!r}")
    return arrays


def _explanation(about: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> Explanation:
    for key in _texts(about[_BFLOAT16]):
        arrays[key] = arrays[key].view(ir.DataType.BFLOAT16.numpy())
    groups: dict[str, Any] = {
        group: {name: arrays[f"{group}/{place}"] for place, name in enumerate(_texts(about[group]))}
        for group in _GROUPS
    }
    if not groups["attributions"]:
        raise ValueError("parts are missing")
    given: dict[str, Any] = groups | {name: arrays.get(name) for name in (*_ARRAYS, *_OPTIONAL)}
    found = Explanation(
        **given,
        **_plain(about),
        **_of_values(about),
        target_names=_texts(about["target_names"]),
        sample_names=_texts(about.get("sample_names", [])),
        axes={name: _texts(names) for name, names in _mapping(about["axes"]).items()},
        features={name: _texts(names) for name, names in _mapping(about["features"]).items()},
        tokens=tuple(_texts(row) for row in about["tokens"]),
        classes=_texts(about["classes"]),
        parameters=dict(_mapping(about["parameters"])),
        one_sample=bool(about["one_sample"]),
        as_dict=bool(about["as_dict"]),
    )
    _check_counts(found)
    return found


def _plain(about: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are one text or a few numbers."""
    texts = {name: about[name] for name in _TEXTS}
    texts["prediction_kind"] = about.get("prediction_kind", "")
    layer, seen = about["layer"], about.get("seen")
    if not all(type(text) is str for text in texts.values()):
        raise ValueError("parts are missing")
    if layer is not None and not isinstance(layer, str):
        raise ValueError(f"layer {layer!r}")
    if seen is not None and (len(seen) != 4 or not all(isinstance(side, int) for side in seen)):
        raise ValueError(f"seen {seen!r:.80}")
    return texts | {"layer": layer, "seen": None if seen is None else tuple(seen)}


def _of_values(about: Mapping[str, Any]) -> dict[str, Any]:
    """Units and sampling rates, as far as the file has some."""
    said = {name: about.get(name, kind()) for name, kind in _SAID.items()}
    units, rates = _mapping(said["units"]), _mapping(said["sampling_rates"])
    if not all(isinstance(unit, str) for unit in (said["score_unit"], *units.values())):
        raise ValueError("units that are no text")
    if not all(isinstance(rate, (int, float)) and rate > 0 for rate in rates.values()):
        raise ValueError("sampling rates that are no numbers")
    return said


def _check_counts(found: Explanation) -> None:
    """Checks that what stands for samples has an entry for each."""
    rows = len(found.scores)
    sized = [array for name in (*_ARRAYS, *_OPTIONAL) if (array := getattr(found, name)) is not None]
    named = [found.target_names, found.sample_names]
    if any(array.ndim == 0 or len(array) != rows for array in sized) or any(
        len(n) not in (0, rows) for n in named
    ):
        raise ValueError("its parts hold different numbers of samples")


def _texts(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise ValueError(f"{given!r:.80} is no list of texts")
    return tuple(given)


def _mapping(given: Any) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise ValueError(f"{given!r:.80} is no object")
    return given


def _as_json(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return repr(value)


def _unreadable(path: str | os.PathLike[str], error: Exception) -> ParameterError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, KeyError):
        reason = f"there is no entry {reason}"
    return ParameterError(
        f"{os.fspath(path)} cannot be read as an explanation: {reason}. Write one with Explanation.save()."
    )
