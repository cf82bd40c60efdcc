"""Reads what a caller gives as a baseline: checks it, fits it to the model, makes rows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onnxattr.compile.baseline_graphs import NAMES, computed
from onnxattr.compile.baseline_kinds import Baseline, Fed, Fixed
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.graph.values import dims_of
from onnxattr.loading.prepared import Prepared
from onnxattr.running.baselines.columns import holds_text, of_columns
from onnxattr.running.baselines.inputs import behind_inputs, columns_behind, split
from onnxattr.running.baselines.shapes import cast, fits
from onnxattr.running.given.arrays import as_array
from onnxattr.running.given.frames import is_frame
from onnxattr.running.given.tables import parts_given, row_by_name

_EXPECTED = (
    f"finite numbers, one of the names {', '.join(map(repr, NAMES))}, a function of the inputs, or a dict of these by "
    "the name of what is explained"
)

#: Arguments of a call, beside the samples of which each may have a baseline; elsewhere a list is a background.
CALLS = ("baselines", "baseline")
_SCALED = "what number that is depends on how the model's input is scaled; give the number, such as 0.0, 1.0 or -1.0"
#: Names that other libraries or users have for baselines, and what to give.
_INSTEAD = (
    dict.fromkeys(("black", "white", "gray", "grey", "min", "max", "minimum", "maximum"), _SCALED)
    | dict.fromkeys(("zero", "zeros"), "give 0.0")
    | dict.fromkeys(("random", "noise", "gaussian"), "'uniform' draws numbers in the range of the sample")
    | {"average": "'mean' is the mean of each channel of the sample"}
)


@dataclass(frozen=True, eq=False)
class Asked:
    """A baseline as the caller asked for it.

    Attributes:
        given: A number, an array, a name, a function, a table or row with named columns; or a dict or tuple of these.
        what: The parameter's name.
        sigma: Standard deviation of "blur", in elements along each axis.
        feed: Whether numbers are fed into the graph, so that one graph takes any.
    """

    given: Any
    what: str = "baseline_value"
    sigma: float = 10.0
    feed: bool = False

    def fit(self, prepared: Prepared, ran: Prepared, axes: Sequence[int | None]) -> tuple[Baseline, ...]:
        """The baseline of each explained value.

        Args:
            prepared: The model, as the caller knows it.
            ran: The same, with an axis of samples where all rows are one.
            axes: The channel axis of each explained value of ``ran``; None for those that are no images.

        Raises:
            ParameterError: If it does not fit the model.
        """
        at, given = split(self._by_name(prepared), prepared)
        parts = replace(self, given=given).parts(prepared)
        behind = behind_inputs(at, given, prepared, ran, self.what) if at else {}
        found: list[Baseline] = []
        for (name, part), axis in zip(parts.items(), axes, strict=True):
            if name in behind:
                found.append(behind[name])
            elif isinstance(part, str):
                found.append(computed(part, ran, name, axis, self.sigma))
            elif is_function(part):
                found.append(Fed(part))
            else:
                numbers = cast(part, ran.value(name), self.what)
                per_sample = fits(numbers, ran.value(name), name, self.what)
                if per_sample and len(numbers) == 1 and not self.feed:
                    numbers, per_sample = numbers[0], False
                found.append(Fed(numbers) if per_sample or self.feed else Fixed(numbers))
        return tuple(found)

    def parts(self, prepared: Prepared) -> dict[str, Any]:
        """What was given for each explained value, by its name."""
        given, names = self._by_name(prepared), prepared.wrt
        if isinstance(given, Mapping):
            for column, inner in columns_behind(prepared).items():
                if column in given:
                    raise ParameterError(
                        f"{self.what} names {column!r}, a column that is explained by what encodes it; give numbers of "
                        f"{inner!r}, by that name."
                    )
            unknown = [name for name in given if name not in (*names, *prepared.asked)]
            if unknown:
                raise ParameterError(
                    f"{self.what} names {unknown}; the explained values are {list(prepared.asked)}. One that is not "
                    "named starts at 0. Inputs may be named for explained layers that depend on them."
                )
            aliases = zip(names, prepared.asked, strict=True)
            return {name: given.get(alias, given.get(name, np.zeros(()))) for name, alias in aliases}
        if isinstance(given, tuple) and (len(names) > 1 or _holds_arrays(given)):
            if self.what in CALLS and (rows := _rows_for_samples(given, prepared)) is not None:
                return {names[0]: rows}
            if len(given) != len(names):
                raise ParameterError(
                    f"{self.what} is a sequence of {len(given)} baselines; expected one for each of "
                    f"{list(prepared.asked)}. To average over several baselines, give them as background=[...]."
                )
            return dict(zip(names, given, strict=True))
        return dict.fromkeys(names, as_array(given, self.what) if isinstance(given, tuple) else given)

    def _by_name(self, prepared: Prepared) -> Any:
        """What was given, with named columns as an array or a dict by input.

        Raises:
            ParameterError: If columns are missing or unknown.
        """
        try:
            found = _by_name(of_columns(self.given, prepared, self.what), prepared)
        except ShapeError as error:
            raise ParameterError(f"{self.what}: {error}") from error
        if isinstance(found, Mapping):  # text is of columns alone
            found = {name: checked(part, f"{self.what}[{name!r}]") for name, part in found.items()}
        return found


def _rows_for_samples(given: tuple[Any, ...], prepared: Prepared) -> np.ndarray | None:
    """A list with an array for each sample of the only explained value, as one array; None for other lists."""
    if (
        len(prepared.wrt) > 1
        or len(given) < 2
        or any(isinstance(part, str) or is_function(part) for part in given)
    ):
        return None
    rank = len(dims_of(prepared.value(prepared.wrt[0])) or [])
    alike = len({np.shape(part) for part in given}) == 1
    return np.stack(given) if alike and np.ndim(given[0]) == rank - 1 else None


def _by_name(given: Any, prepared: Prepared) -> Any:
    """A row or table with named columns as an array or a dict by input; all else as it is."""
    if (row := row_by_name(given, prepared.features)) is not None:
        return as_array(row, "baseline_value")
    inputs = [str(value.name) for value in prepared.inputs]
    if is_frame(given):
        parts = dict(zip(inputs, parts_given(prepared, given), strict=True))
        named = {*prepared.wrt, *columns_behind(prepared)}
        return {name: part for name, part in parts.items() if name in named} or np.asarray(given)
    if hasattr(given, "iloc"):
        entries, named = dict(given.items()), {*prepared.wrt, *columns_behind(prepared)}
        return entries if set(entries) <= named else as_array(given, "baseline_value")
    return given


def asked(given: Any, what: str = "baseline_value", sigma: float = 10.0, feed: bool = False) -> Asked:
    """Checks what can be checked of a baseline without a model.

    Raises:
        ParameterError: If it is none.
    """
    if not isinstance(sigma, (int, float, np.number)) or not np.isfinite(sigma) or sigma <= 0:
        raise ParameterError(f"sigma={sigma!r}: expected a number of elements above 0.")
    if isinstance(given, Mapping):
        given = {
            name: part if holds_text(part) else checked(part, f"{what}[{name!r}]")
            for name, part in given.items()
        }
    elif isinstance(given, tuple) or _holds_arrays(given):
        given = tuple(checked(part, what) for part in given)
    else:
        given = checked(given, what)
    return Asked(given, what, float(sigma), feed)


def checked(given: Any, what: str) -> Any:
    """One baseline: numbers as an array, all else as it is.

    Raises:
        ParameterError: If it is none.
    """
    if isinstance(given, str) and given in NAMES:
        return given
    if is_function(given) or is_frame(given) or hasattr(given, "iloc"):
        return given
    if isinstance(given, str) and given.lower() in _INSTEAD:
        raise ParameterError(f"{what}={given!r}: {_INSTEAD[given.lower()]}. Expected {_EXPECTED}.")
    try:
        array = as_array(given, what)
    except ShapeError as error:
        raise ParameterError(f"{what}={given!r}: expected {_EXPECTED}. {error}") from error
    if not np.isfinite(array).all():
        raise ParameterError(f"{what}={given!r}: expected finite numbers.")
    return array


def called(
    function: Any, prepared: Prepared, name: str, feeds: Mapping[str, np.ndarray], what: str
) -> np.ndarray:
    """The numbers that a function gives for an explained value.

    Args:
        function: Takes the model's only input, or a dict of all by name.
        prepared: The model, with an axis of samples.
        name: The explained value.
        feeds: The model's inputs.
        what: The parameter's name.

    Raises:
        ParameterError: If it gives something else than a baseline.
    """
    inputs = {str(value.name): feeds[str(value.name)] for value in prepared.inputs}
    if prepared.rows.mixed:  # what the caller gave has no axis of samples
        inputs = {key: array[0] if array.ndim else array for key, array in inputs.items()}
    found = function(next(iter(inputs.values())) if len(inputs) == 1 else inputs)
    if isinstance(found, tuple) and len(found) == len(prepared.wrt):
        found = found[prepared.wrt.index(name)]
    if isinstance(found, Mapping):
        alias = prepared.asked[prepared.wrt.index(name)]
        if name not in found and alias not in found:
            raise ParameterError(f"{what}(inputs) gave {sorted(found)}, and nothing for {alias!r}.")
        found = found[alias] if alias in found else found[name]
    array = cast(found, prepared.value(name), f"The result of {what}(inputs)")
    fits(array, prepared.value(name), name, f"The result of {what}(inputs)")
    return array


def is_function(given: Any) -> bool:
    """Whether something is a function, and no tensor that can be called."""
    return callable(given) and not hasattr(given, "__array__") and not hasattr(given, "detach")


def _holds_arrays(given: Any) -> bool:
    """Whether something is a list or tuple of arrays, names or functions, and not one of numbers."""
    return isinstance(given, (list, tuple)) and any(
        isinstance(part, str) or is_function(part) or (hasattr(part, "shape") and np.ndim(part) > 0)
        for part in given
    )
