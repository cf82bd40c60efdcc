"""Names that a caller gives to what a model leaves without: classes and tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onnxattr.errors import ShapeError

if TYPE_CHECKING:
    from onnxattr.results.explanation import Explanation

#: Most classes where the output does not say how many there are.
_MOST = 2**20


def named_classes(explanation: Explanation, given: Sequence[str] | Mapping[int, str]) -> dict[str, Any]:
    """The fields of an explanation that names of classes fill.

    Raises:
        ShapeError: If they are not those of the classes that the model tells apart.
    """
    if isinstance(given, (str, bytes)):
        raise ShapeError(f"classes={given!r}: expected a name for each class.")
    known = _by_label(given) if isinstance(given, Mapping) else dict(enumerate(given))
    count = None if explanation.predictions is None else explanation.predictions.shape[1]
    if count is not None and not isinstance(given, Mapping) and len(known) != count:
        raise ShapeError(
            f"classes has {len(known)} names, and the output {count} classes; expected a name for each, or some by "
            "label: {3: 'cat'}."
        )
    if odd := [label for label in known if not 0 <= label < (count or _MOST)]:
        raise ShapeError(
            f"classes has a name for the class {odd[0]}; expected classes from 0 to {(count or _MOST) - 1}."
        )
    wanted = explanation.targets
    if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
        names = explanation.target_names
    else:
        missing = sorted({int(label) for label in wanted} - set(known))
        if missing:
            raise ShapeError(
                f"classes has {len(known)} names, none for the classes {missing[:5]} that are explained."
            )
        names = tuple(as_text(known[int(label)]) for label in wanted)
    size = max(known, default=-1) + 1
    return {"target_names": names, "classes": tuple(as_text(known.get(i, f"class {i}")) for i in range(size))}


def as_text(name: Any) -> str:
    """A name or token as text; bytes are UTF-8."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _by_label(given: Mapping[Any, Any]) -> dict[int, Any]:
    """Names by label; JSON has labels as text."""
    try:
        return {int(label): name for label, name in given.items()}
    except (TypeError, ValueError) as error:
        raise ShapeError(
            f"classes has the key {next(iter(given))!r}; expected names by label, such as {{3: 'cat'}}."
        ) from error
