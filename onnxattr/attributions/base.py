"""What every method shares: parameters, checks, explain, predict, export."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import InitVar, replace
from typing import Any, ClassVar

import numpy as np

from onnxattr.attributions.advice import advice, caller_of
from onnxattr.attributions.collecting import collect
from onnxattr.attributions.elsewhere import argument_hints, missing_call
from onnxattr.attributions.exporting import Exports
from onnxattr.attributions.for_photos import TakesPhotos
from onnxattr.attributions.made_of import MadeOf
from onnxattr.attributions.options import MEAN, OPTIONS, Options, Unasked, check_options
from onnxattr.attributions.parameter_checks import (
    check_batch_size,
    check_reducer,
    checked_layer,
    chosen_outputs,
)
from onnxattr.attributions.parameters import Parameters, own_names, shown
from onnxattr.attributions.plan import Plan
from onnxattr.autodiff.registry import RuleTable
from onnxattr.autodiff.standard import STANDARD
from onnxattr.compile.method import Method
from onnxattr.errors import FoldedLayerError, ParameterError, one_door
from onnxattr.loading.meaning.stated import NAMES as STATED
from onnxattr.loading.meaning.stated import Stated
from onnxattr.loading.prepared import Wrt, prepare
from onnxattr.loading.preprocessing.files import preprocessing_of
from onnxattr.loading.preprocessing.spec import Preprocessing
from onnxattr.loading.reading.source import ModelSource, converted, name_of
from onnxattr.results import Explanation
from onnxattr.results.spelled import call
from onnxattr.running.collected import Collected
from onnxattr.running.explained import explanation_of
from onnxattr.running.finite import Results
from onnxattr.running.given.batches import first_of, is_dataset, pairs_of
from onnxattr.running.reason import reason
from onnxattr.scores import score_of


class Attribution(Parameters, Options, TakesPhotos, Exports, ABC):
    """A gradient-based attribution method on an ONNX or Keras model.

    The explained score is the sum over the last axis of the model's output times the targets, as in Xplique.

    Args:
        model: A path, the bytes of a file, an ``onnx.ModelProto``, an ``onnx_ir.Model``, a Keras model, a PyTorch
            module or a scikit-learn estimator. What a framework made is converted once for all methods it is given to.
        output_layer: Where to cut the model: a layer name or index of the converted model, or the name of any value
            or node. None for the model's output.
        batch_size: Most pairs of a sample and a point in one run of the model, a chunk; None for no limit. On a CPU a
            chunk is smaller where its values would not fit the cache, which is faster; the numbers are the same.
        operator: What is explained, one number for each sample. None, "classification" or "regression": the sum of the
            output times the targets; they say what an output of one unit is, where labels depend on it:
            "classification" the logit of class 1, "regression" a number without classes, None: as the graph has it, a
            sigmoid's output the probability of class 1, other numbers no classes. The name of another score or a
            member of ``Tasks``; a Python function ``operator(f, x, y)`` of symbolic arrays; see docs/scores.md.
        reducer: "min", "mean", "max", "sum", "l2" or None (also "prod", "euclidean_norm", "std", "variance",
            "logsumexp", as TensorFlow names them): how the channel axis of images is reduced. The axis stays, with size
            1. The default acts on values of rank 4, whose channels are more than one; a reducer that is passed also on
            what layers give: on the last axis of tokens (N, T, E), the channels of (N, C, T).

    Raises:
        ModelError: If the model cannot be read or explained.
        ParameterError: If a parameter is outside its domain.
        UnsupportedOpError: If an operator on the way has no gradient rule; raised by the first explain or export.
    """

    #: The rule table of the backward pass: what it has a rule for is differentiated by that rule.
    rules: ClassVar[RuleTable] = STANDARD

    model: InitVar[ModelSource]
    output_layer: str | int | None = None
    batch_size: int | None = 32
    operator: Any = None
    reducer: str | None = MEAN

    def __post_init__(self, model: ModelSource) -> None:
        self._check_parameters()
        spec = self.preprocess if self.preprocess in (None, "model") else preprocessing_of(self.preprocess)
        stated = Stated(**{name: getattr(self, name) for name in STATED}).read()
        source = self._prepare(model, spec, stated)
        self._made_of = MadeOf(model)
        with one_door(f"{self.name} cannot be set up"):
            self._plan = self._planned()
        if self._expects_more:
            self._source = source
        self._warn()

    def _prepare(self, model: ModelSource, spec: Preprocessing | str | None, stated: Stated) -> ModelSource:
        """Prepares the model and returns what it was read from: a framework's model is converted.

        Where the conversion merged a layer that is asked for into others, a second conversion keeps it.
        """
        keep: list[str] = []
        while True:
            with one_door(f"{name_of(model)} cannot be converted"):
                source = converted(model, self.sample, keep)
            try:
                self.prepared = prepare(
                    source,
                    self.output_layer,
                    self._explained(),
                    self.precision,
                    self._score.unit,
                    self.verify,
                    chosen_outputs(self.output, self.output_layer, self._score),
                    self.neuron,
                    self.rules,
                    spec,
                    self.attributions_at,
                    stated,
                )
                return source
            except FoldedLayerError as folded:
                if source is model or folded.layer in keep:
                    raise
                keep.append(folded.layer)

    def _explained(self) -> Wrt:
        """The values that are explained, or the function that chooses them; see ``prepare``."""
        return self.wrt

    @abstractmethod
    def _method(self) -> Method:
        """The method, with its parameters checked."""

    def explain(self, inputs: Any, targets: Any = None, *, full: bool = False, **unknown: Any) -> Any:
        """Explains a batch of inputs.

        Args:
            inputs: Array of shape (N, ...), or for models with several inputs a list in the model's order or a dict by
                name; numpy arrays and tensors of TensorFlow or PyTorch alike. A table of named columns (pandas, polars)
                is matched by name with the columns that the model was converted with, or with its inputs. Or a
                ``tf.data.Dataset`` or any other iterable of batches ``x`` or ``(x, targets)``, read as it is needed. Or
                files: a path of a photo, sound, table or array, of a folder, a list of these, or images of Pillow; see
                docs/files.md.
            targets: One-hot rows or any float weights of the output's shape, integer labels (N,) with -1 for the
                predicted class, or None for the predicted class of every sample. One label is for all samples. Where
                the model holds the names of its classes, names (N,), or one for all. Where one unit, (N, 1) or (N,),
                tells two classes apart, label 1 is the unit and label 0 its negative.
            full: Whether to return an ``Explanation``, as calling the method does: the attributions with targets,
                scores, names and the gap of a path, which draws and saves itself.
            **unknown: None; other libraries' arguments are refused with what they are called here.

        Returns:
            float32 array shaped like the explained input, with the channel axis reduced to 1 if there is a reducer. The
            columns stand as they do in the table that was given.
            With several explained values a list of them, or a dict if ``inputs`` was one.

        Raises:
            ShapeError: If an input does not fit the model, is infinite and explained, or NaN and not replaced in the
                model.
            TargetError: If the targets do not fit the output.
            NonFiniteError: If the result is not finite, with ``check_finite="error"``.
        """
        self._check_arguments(unknown)
        found = self._collected(inputs, targets, full)
        return self._explanation(found) if full else found.as_given()

    def __call__(self, inputs: Any, targets: Any = None) -> Explanation:
        """The same as an ``Explanation``, which is used like the array of its attributions; see ``explain``."""
        return self._explanation(self._collected(inputs, targets, True))

    def __getattr__(self, name: str) -> Any:
        """Says what stands in the place of other libraries' calls."""
        raise AttributeError(missing_call(self.name, name), name=name, obj=self)

    def __repr__(self) -> str:
        return call(self.name, shown(self, Attribution), self.model_text)

    @property
    def options(self) -> Options:
        """The parameters that every method takes by keyword."""
        return Options(**{name: getattr(self, name) for name in OPTIONS})

    @options.setter
    def options(self, options: Options) -> None:
        vars(self).update(vars(options))

    @property
    def name(self) -> str:
        """The method's name."""
        return type(self).__name__

    @property
    def explained(self) -> tuple[str, ...]:
        """Names of what is explained, as it was asked for, in the order of the maps."""
        return self.prepared.asked

    @property
    def per_sample(self) -> str | None:
        """The parameter that has a row for each sample of a call, if one has."""
        return self._plan.per_sample

    @property
    def one_sample(self) -> bool:
        """Whether all of the inputs' first axis is one sample, as far as that is decided; see docs/models.md."""
        return self._plan.one_sample

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes that the model leaves open and the baseline does not, by their names."""
        return self._plan.sizes

    def predict(self, inputs: Any) -> np.ndarray:
        """The (cut) model's output for each sample; the arguments and errors are those of ``explain``."""
        plan = self._taking(inputs)._plan
        feeds, rows = plan.feeds(inputs, stacklevel=2)
        with one_door("The model cannot be run"):
            prediction = plan.driver.predict(feeds, rows)
        results = Results(self.check_finite)
        results.look(feeds, len(prediction), [], prediction)
        results.say(lambda case: reason(plan.driver, case), stacklevel=2)
        return plan.as_given(prediction)

    def score(self, inputs: Any, targets: Any = None) -> np.ndarray:
        """The explained score of each sample, float32 (N,); the arguments and errors are those of ``explain``."""
        with one_door("The model cannot be run"):
            return self._taking(inputs)._plan.scores(inputs, targets, stacklevel=2).astype(np.float32)

    def _planned(self) -> Plan:
        """How the method runs on its model."""
        method, score = replace(self._method(), rules=self.rules), self._score
        return Plan(
            self.prepared,
            method,
            self.reducer,
            self.batch_size,
            self.options,
            score,
            not isinstance(self.reducer, Unasked),
        )

    def _parameters(self) -> dict[str, Any]:
        """The parameters of the method by name."""
        shared = ("wrt", "seed", "relu_policy", "channel_axis", "precision", "neuron", "feature_mask")
        named = {name: getattr(self, name) for name in (*own_names(type(self)), *shared)}
        if callable(self.wrt):
            named["wrt"] = self.explained
        return named | {"operator": self._score.name}

    def _plan_for(self, baselines: Any) -> Plan:
        """How the method runs with other baselines; itself without."""
        return self._plan

    def _collected(self, inputs: Any, targets: Any, keep: bool, baselines: Any = None) -> Collected:
        """The attributions; with ``keep`` also scores, inputs, and for a method on a path how far they miss them."""
        shown = inputs
        if self._expects_more and is_dataset(inputs):
            shown, inputs = first_of(inputs)
        method = self._taking(shown)
        plan = method._plan_for(baselines)
        batches = pairs_of(method.prepared, inputs, targets, self.batch_size)
        collected = Collected(method.prepared, is_dataset(inputs), keep)
        results = Results(self.check_finite)
        collect(plan, self.name, batches, collected, results, self.progress, stacklevel=4)
        self._look(collected, stacklevel=4)
        return collected

    def _explanation(self, collected: Collected) -> Explanation:
        method = self if collected.prepared is self.prepared else self.for_photos()
        plan, about = method._plan, {"method": self.name, "parameters": method._parameters()}
        return explanation_of(collected, plan.one_sample, plan.axes(collected.grouped), about)

    def _look(self, collected: Collected, stacklevel: int) -> None:
        """Looks at what a call found beside the attributions; a method on a path may have to say something of it."""
        return

    def _check_arguments(self, unknown: Mapping[str, Any], *own: str) -> None:
        if unknown:
            known = ["inputs", "targets", "full", *own]
            raise ParameterError(
                f"explain() takes no {sorted(unknown)}.{argument_hints(unknown, known)} It takes {known}."
            )

    def _check_parameters(self) -> None:
        """Checks what can be checked without the model; a method checks its own parameters first."""
        self._score = score_of(self.operator)
        check_reducer(self.reducer)
        check_batch_size(self.batch_size)
        self.output_layer = checked_layer(self.output_layer)
        check_options(self)

    def _warn(self) -> None:
        caller = caller_of(self)
        self._plan.warn(caller)
        # Counted from the end, -1 is the model's output whatever that is.
        asked = str(self.output_layer) not in ("None", "-1") or self.operator is not None
        request = replace(self._plan.request, prepared=self.prepared)
        for text in advice(request, self.name, asked, self.wrt is not None, self.channel_axis is not None):
            warnings.warn(text, stacklevel=caller)
