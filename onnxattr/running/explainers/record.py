"""What an explainer's file gave when it was written: noted in the file, and compared when it was changed since.

Tools that quantise a file, or convert it to half precision, may leave the prediction as it was and not the map. Tools
that only make it smaller change neither. Which of both a tool did is seen in the numbers of one run.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxattr.compile.explainer_file import describe
from onnxattr.errors import ModelError
from onnxattr.loading.prepared import Prepared
from onnxattr.loading.reading.content import Content, content_of, integers_among
from onnxattr.loading.reading.external_data import Located
from onnxattr.loading.reading.source import ModelSource, metadata_of, read_model
from onnxattr.running.drawn import Drawn, Feeds, filled
from onnxattr.running.explainers.trial import trial_of
from onnxattr.session import Session

#: The key of the metadata entry, a JSON object.
KEY = "onnxattr.record"
#: How many elements of an output are noted: the largest, and as many at equal distances.
_NOTED = 32
#: How far a number may be off, in parts of the largest of its output; where the file rounded coarsely before.
_CLOSE, _CLOSE_COARSE = 1e-3, 5e-2
#: Numbers of a row that is made again: a file may tell anything.
_MOST = 2**26
#: Changed weights that a text names.
_NAMED = 3


def recorded(
    proto: onnx.ModelProto,
    prepared: Prepared,
    providers: Sequence[Any] | None,
    sizes: Mapping[str, int],
    check: bool,
) -> Callable[[Path], bytes]:
    """What runs an explainer's file, unless ``check`` is False, and tells what is to be added at the file's end.

    The other arguments, and the errors of the function that is returned, are those of ``trial_of``.
    """
    trial = trial_of(proto, prepared, providers, sizes) if check else None

    def look(path: Path) -> bytes:
        ran = None if trial is None else trial(path)
        content = content_of(proto, path.parent)
        note: dict[str, Any] = {"content": content.digest}
        note["weights"] = {_short(name): digest for name, digest in content.weights.items()}
        note["coarse"] = sorted(content.coarse)
        if ran is not None and all(np.isfinite(ran.outputs[name]).all() for name in ran.told):
            note["row"], note["row_digest"] = ran.row, _digest(filled(ran.row))
            note["gave"] = {name: _noted(ran.outputs[name]) for name in ran.told}
        # Messages of protobuf that follow each other are one message.
        entry = onnx.StringStringEntryProto(key=KEY, value=json.dumps(note, separators=(",", ":")))
        added: bytes = onnx.ModelProto(metadata_props=[entry]).SerializeToString()
        return added

    return look


@dataclass(frozen=True)
class Change:
    """What of a file is not as it was when it was written.

    Attributes:
        proto: The model of the file.
        record: The note in it.
        cause: What was changed, as far as it is seen: operators and types that round coarsely, and other weights.
    """

    proto: onnx.ModelProto
    record: Mapping[str, Any]
    cause: str

    @property
    def seen(self) -> str | None:
        """What is to be said before the file runs; None where only its numbers can tell whether it is right."""
        if not self.cause:
            return None
        return f"The file was changed after the export, and its maps may be wrong. {self.cause}{_ADVICE}"

    def measured(self, session: Session) -> str | None:
        """What is to be said of the numbers that the file gives now; None if they are those of the export.

        Args:
            session: What runs the file.
        """
        if "gave" not in self.record:
            return None
        try:
            off = _differences(self.record, self.proto, session)
        except (ModelError, ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            return (
                "The file was changed after the export, and whether its maps are right is not known: it no longer "
                f"takes the row that it was tried with then ({' '.join(str(error).split())[:300]}). {_ADVICE}"
            )
        if all(size <= (_CLOSE_COARSE if self.record["coarse"] else _CLOSE) for size in off.values()):
            return None
        told = ", ".join(f"{name!r} by {_percent(size)}" for name, size in off.items())
        return (
            "The file was changed after the export, and does not give what it gave then. On the row that it was tried "
            f"with it is off, relative to the largest value: {told}; on other rows it may be off by more. "
            f"{self.cause}{_ADVICE}"
        )


def change_of(located: Located) -> Change | None:
    """What was changed of a file after it was written; None if nothing was, or if the file does not tell.

    Raises:
        ModelError: If external data cannot be read.
    """
    record = _record(located.proto)
    if record is None:
        return None
    content = content_of(located.proto, located.folder)
    if content.digest == record["content"]:
        return None
    return Change(located.proto, record, _cause(record, content))


def session_of(
    located: Located, providers: Sequence[Any] | None, outputs: Collection[str]
) -> tuple[Session, Change | None]:
    """A session of an explainer's file that computes some outputs, and what was changed of the file since its export.

    Raises:
        ModelError: If the runtime refuses the file.
    """
    change = change_of(located)
    try:
        return Session(located.proto, providers, located.folder or Path(), outputs=outputs), change
    except ModelError as error:
        if change is None:
            raise
        raise ModelError(f"{error} It was changed after the export. {change.cause}{_ADVICE}") from error


def change_told(source: ModelSource) -> str | None:
    """What `onnxattr inspect` tells of the change of an explainer's file since its export, without running it."""
    located = read_model(source)
    if describe(metadata_of(located.proto)) is None or (change := change_of(located)) is None:
        return None
    return (
        change.seen
        or "Its nodes are others. The first explanation compares its numbers with those of the export."
    )


_ADVICE = "Quantise, convert or change the model first, and export the explainer from the result."


def _percent(size: float) -> str:
    return f"{100 * size:.2g} %" if size < 1e4 else "more than its size"


def _cause(record: Mapping[str, Any], content: Content) -> str:
    """What was changed, as far as it is seen: operators and types that round coarsely, and other weights."""
    new = _coarser(record, content)
    then = record["weights"]
    other = [name for name, digest in content.weights.items() if then.get(_short(name), digest) != digest]
    told = (
        f"Since then it has {', '.join(new[:_NAMED])}{' and more' if len(new) > _NAMED else ''}. "
        if new
        else ""
    )
    if other:
        more = f" and {len(other) - _NAMED} more" if len(other) > _NAMED else ""
        told += f"These weights were replaced: {', '.join(map(repr, other[:_NAMED]))}{more}. "
    return told


def _coarser(record: Mapping[str, Any], content: Content) -> list[str]:
    """What rounds coarsely since the export, with the first node or weight of each that does.

    A runtime joins integer operators to others when it saves the graph that it runs: they are new only where there were
    none.
    """
    had = set(record["coarse"])
    if integers_among(had):
        had |= integers_among(content.coarse)
    return [f"{kind} ({where})" for kind, where in content.coarse.items() if kind not in had]


def _record(proto: onnx.ModelProto) -> dict[str, Any] | None:
    """The note in a file; None where there is none that can be read."""
    try:
        record = json.loads(metadata_of(proto)[KEY])
        lists = isinstance(record["coarse"], list) and isinstance(record["weights"], dict)
        return record if lists and isinstance(record["content"], str) else None
    except (LookupError, TypeError, ValueError, RecursionError):
        return None


def _noted(array: np.ndarray) -> dict[str, Any]:
    """Some elements of an output, and the sum of the sizes of all."""
    flat = array.astype(np.float64).ravel()
    largest = np.argsort(-np.abs(flat), kind="stable")[:_NOTED]
    spread = np.linspace(0, max(flat.size - 1, 0), min(_NOTED, flat.size)).astype(int)
    at = np.unique([*largest, *spread]).astype(int)
    values = [float(f"{value:.5g}") for value in flat[at]]
    in_all = float(f"{np.abs(flat).sum():.5g}")
    return {"shape": list(array.shape), "at": at.tolist(), "values": values, "sum": in_all}


def _short(name: str) -> str:
    """What stands for the name of a weight, which may be long."""
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def _digest(feeds: Feeds) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in feeds.values())).hexdigest()[:16]


def _differences(record: Mapping[str, Any], proto: onnx.ModelProto, session: Session) -> dict[str, float]:
    """How far each output is from what was noted, in parts of its largest element.

    Raises:
        ModelError: If the file does not take the row, or gives other shapes.
        ValueError: If the row cannot be made again.
    """
    row = [Drawn(*one) for one in record["row"]]
    if any(math.prod(map(abs, one.shape)) > _MOST for one in row):
        raise ValueError("it is too large")
    feeds = filled(row)
    if _digest(feeds) != record["row_digest"]:
        raise ValueError("this version of NumPy draws other numbers")
    rows = 1
    for value in proto.graph.input:
        tensor, array = value.type.tensor_type, feeds.get(value.name)
        if array is None:
            continue
        dims = [dim.dim_value for dim in tensor.shape.dim]
        if array.ndim and array.shape[0] == 1 and dims and dims[0] > 1:
            rows = dims[0]
            if rows * array.size > _MOST:
                raise ValueError("it is too large for the batch of the file")
            array = np.repeat(array, rows, axis=0)
        feeds[value.name] = array.astype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    found = dict(zip(session.outputs, session.run(feeds), strict=True))
    return {name: _off(found[name], noted, rows) for name, noted in record["gave"].items() if name in found}


def _off(found: np.ndarray, noted: Mapping[str, Any], rows: int) -> float:
    shape = noted["shape"]
    if rows > 1 and shape[:1] == [1] and found.shape[:1] == (rows,):
        found = found[:1]
    if list(found.shape) != shape:
        raise ModelError(f"an output has shape {list(found.shape)} in the place of {shape}")
    flat, values = found.astype(np.float64).ravel(), np.array(noted["values"])
    largest = float(np.abs(values).max(initial=0)) or 1.0
    differences = np.abs(flat[noted["at"]] - values).max(initial=0) / largest
    in_all = abs(np.abs(flat).sum() - noted["sum"]) / (noted["sum"] or 1.0)
    off = max(float(differences), float(in_all))
    return off if math.isfinite(off) else math.inf
