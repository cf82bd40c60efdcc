"""Attributions with what they are of: targets, scores, the gap of a path, axes, names."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.errors import ParameterError, ShapeError
from onnxattr.results.arraylike import ArrayLike
from onnxattr.results.guesses import Guess, guesses
from onnxattr.results.naming import as_text, named_classes
from onnxattr.results.spelled import call, said

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(eq=False, repr=False)
class Explanation(ArrayLike):
    """What a method found, and what it is about. It can be used as the array of its attributions.

    Attributes:
        attributions: Float32 arrays by the name of the explained value, as ``explain`` returns them.
        method: The method's name.
        parameters: Its parameters by name.
        model: The file of the model, or "" where it came from no file.
        output: The name of the value whose score is explained.
        layer: What was asked to be explained in place of the inputs, a layer's or value's name; None for inputs.
        inputs: The model's inputs by name.
        targets: What is explained for each sample: the class, (N,) int64, or the weights that were given.
        target_names: What each sample's target is called; "" for weights that pick no class.
        scores: The explained score f(x) of each sample, float32 (N,); 1 - p for class 0 of one unit that is the
            probability p of class 1. NaN where an exported file of another score does not tell.
        score_name: "probability" where the output is one, else "score".
        baseline_scores: The score f(b) of the baseline for each sample, float32 (N,); None without a path.
        delta: How much a sample's attributions miss f(x) - f(b) before the reducer, float32 (N,); None without a path.
        relative_gap: |delta| / |f(x) - f(b)|, |delta| where that is 0, float32 (N,); None without a path.
        spent_steps: How many gradients each sample took, (N,) int64, where a path takes as many as it needs; else None.
        axes: What the axes of each explained value are: "row", "height", "width", "channel", "step", "feature",
            "token", or "axis 2" where that is not known.
        features: The names of the columns of each explained value that has some, in the order of the attributions.
        tokens: The tokens of each sample, for texts; empty if they were not given.
        classes: The names of the classes; empty if they are not known.
        predictions: What the model gives for each class, float32 (N, C), two for one unit that tells two classes apart:
            p and 1 - p of a probability, z and -z of a logit; None for other outputs.
        prediction_kind: "probabilities", "logits" or "", as far as that is known.
        sample_names: What each sample is called, such as the file it was read from; empty where they have no names.
        units: The unit of each explained value that has one, such as "mV".
        sampling_rates: How many steps of each explained series there are for each second, where that is known.
        score_unit: The unit of the score; "" where it has none, or it is not known.
        seen: Where maps are of what the network sees of photos, that part of them: top, left, bottom, right, in pixels;
            beyond a photo there is padding. None where maps are of the inputs.
        one_sample: Whether all of the attributions' first axis is one sample.
        as_dict: Whether the inputs were given by name, so that iterating gives names.
    """

    attributions: dict[str, np.ndarray]
    method: str
    targets: np.ndarray
    scores: np.ndarray
    target_names: tuple[str, ...] = ()
    score_name: str = "score"
    baseline_scores: np.ndarray | None = None
    delta: np.ndarray | None = None
    relative_gap: np.ndarray | None = None
    spent_steps: np.ndarray | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    output: str = ""
    layer: str | None = None
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    features: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tokens: tuple[tuple[str, ...], ...] = ()
    classes: tuple[str, ...] = ()
    predictions: np.ndarray | None = None
    prediction_kind: str = ""
    sample_names: tuple[str, ...] = ()
    units: dict[str, str] = field(default_factory=dict)
    sampling_rates: dict[str, float] = field(default_factory=dict)
    score_unit: str = ""
    seen: tuple[int, int, int, int] | None = None
    one_sample: bool = False
    as_dict: bool = False

    @property
    def sample_count(self) -> int:
        """The number of samples."""
        return len(self.scores)

    def sample(self, index: int) -> Explanation:
        """The explanation of one sample, with an axis of samples of size 1.

        Raises:
            ParameterError: If there is no such sample.
        """
        return self._one(index, "sample")

    @property
    def rows(self) -> int:
        """The name of ``sample_count`` in version 0.1."""
        warnings.warn("Explanation.rows is called sample_count now.", DeprecationWarning, stacklevel=2)
        return self.sample_count

    def row(self, index: int) -> Explanation:
        """The name of ``sample`` in version 0.1."""
        warnings.warn("Explanation.row is called sample now.", DeprecationWarning, stacklevel=2)
        return self._one(index, "row")

    def _one(self, index: int, word: str) -> Explanation:
        count = self.sample_count
        if not -count <= index < count:
            raise ParameterError(f"{word}={index}: the explanation has {word}s 0 to {count - 1}.")
        return self.select([index % count])

    def select(self, samples: Sequence[int] | slice) -> Explanation:
        """The explanation of some samples."""
        if self.one_sample and len(self.attributions) and self.sample_count == 1:
            return self
        picked = np.arange(self.sample_count)[samples]

        def part(array: np.ndarray | None) -> Any:
            return (
                array[picked]
                if array is not None and array.ndim and len(array) == self.sample_count
                else array
            )

        return replace(
            self,
            attributions={name: part(array) for name, array in self.attributions.items()},
            inputs={name: part(array) for name, array in self.inputs.items()},
            targets=part(self.targets),
            target_names=tuple(self.target_names[i] for i in picked) if self.target_names else (),
            scores=part(self.scores),
            baseline_scores=part(self.baseline_scores),
            delta=part(self.delta),
            relative_gap=part(self.relative_gap),
            spent_steps=part(self.spent_steps),
            tokens=tuple(self.tokens[i] for i in picked) if self.tokens else (),
            predictions=part(self.predictions),
            sample_names=tuple(self.sample_names[i] for i in picked) if self.sample_names else (),
        )

    def top(self, count: int = 5) -> list[list[Guess]]:
        """For each sample the classes that the model gives most, the largest first; see ``results.guesses``.

        Raises:
            ParameterError: If the output tells no classes apart, or ``count`` is no number of classes.
        """
        return guesses(self, count)

    def named(
        self,
        *,
        features: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        tokens: Sequence[Sequence[str]] | None = None,
        classes: Sequence[str] | Mapping[int, str] | None = None,
    ) -> Explanation:
        """The same with names that the model does not hold.

        Args:
            features: The names of the columns; by explained value where there are several.
            tokens: The tokens of each sample; padded ones may have fewer tokens than the attributions.
            classes: The names of the classes, in their order or by label.

        Raises:
            ShapeError: If their number does not fit the attributions.
        """
        found = self
        if features is not None:
            found = replace(found, features=self.features | self._features(features))
        if tokens is not None:
            tokens = tokens if hasattr(tokens, "__len__") else list(tokens)
            if (
                isinstance(tokens, str)
                or len(tokens) != self.sample_count
                or any(isinstance(t, (str, bytes)) for t in tokens)
            ):
                raise ShapeError(
                    f"tokens={tokens!r:.80}: expected {self.sample_count} sequences of tokens, one for each sample."
                )
            found = replace(found, tokens=tuple(tuple(map(as_text, row)) for row in tokens))
        if classes is not None:
            found = replace(found, **named_classes(self, classes))
        return found

    def _features(self, given: Sequence[str] | Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
        if not isinstance(given, Mapping):
            if len(self.attributions) > 1:
                raise ShapeError(f"Give the names of features by explained value: {list(self.attributions)}.")
            given = {next(iter(self.attributions)): given}
        for name, names in given.items():
            array = self.attributions.get(name)
            if array is None or isinstance(names, str) or len(names) not in array.shape[1:]:
                shape = None if array is None else array.shape
                raise ShapeError(
                    f"{len(names)} names of features for {name!r}, whose attributions have shape {shape}; expected a "
                    "name for each column."
                )
        return {name: tuple(map(str, names)) for name, names in given.items()}

    def plot(
        self,
        sample: int | None = None,
        *,
        kind: str | None = None,
        path: str | os.PathLike[str] | None = None,
        row: int | None = None,
        **options: Any,
    ) -> Figure:
        """Draws the explanation; what is drawn is chosen by the kind of data.

        Args:
            sample: The sample to draw; None for all: up to 12 images, series or texts, and of a table a summary.
            kind: "photo", "series", "table" or "tokens"; None to choose it by the axes, names and ranks.
            path: Where to write the figure; the suffix chooses the format (.png, .svg, .pdf).
            row: The name of ``sample`` in version 0.1.
            **options: What the picture of that kind takes, such as ``images``, ``title``, ``percentile``, ``top``; see
                ``onnxattr.results.picture``.

        Raises:
            ParameterError: If there is no such sample or kind, or the path has another suffix.
            ShapeError: If what is explained cannot be drawn so.
            RuntimeMissingError: If matplotlib is not installed.
        """
        from onnxattr.results.picture import picture

        drawn = self if row is None else self.row(row)
        return picture(drawn if sample is None else drawn.sample(sample), kind, path, options)

    def save(self, path: str | os.PathLike[str], *, inputs: bool = True) -> None:
        """Writes the explanation as a .npz file that ``Explanation.load`` reads.

        Args:
            path: The file.
            inputs: Whether the model's inputs are written too; without them photos and series cannot be drawn.

        Raises:
            ParameterError: If the file cannot be written, or its name does not end in .npz.
        """
        from onnxattr.results.stored import save

        save(self if inputs else replace(self, inputs={}), path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Explanation:
        """Reads what ``save`` wrote. Nothing in the file is run.

        Raises:
            ParameterError: If the file is missing, damaged, of a later version, or something else.
        """
        from onnxattr.results.stored import load

        return load(path)

    def _repr_html_(self) -> str:
        from onnxattr.results.html import html

        return html(self)

    def _repr_png_(self) -> bytes | None:
        from onnxattr.results.html import png

        return png(self)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name!r}: {array.shape}" for name, array in self.attributions.items())
        names = ", ".join(self.target_names[:3]) + (", ..." if len(self.target_names) > 3 else "")
        gap = "" if self.relative_gap is None else f", gap up to {np.max(self.relative_gap, initial=0):.2g}"
        method = call(self.method, said(self.parameters), *([repr(self.model)] if self.model else []))
        targets = f", targets: {names}" if any(self.target_names) else ""
        return f"Explanation({{{shapes}}}{targets}{gap}, by {method})"
