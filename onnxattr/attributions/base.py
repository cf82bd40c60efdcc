"""What every method shares: parameters, checks, explain, predict, export."""

from __future__ import annotations

import inspect
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import InitVar, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
from tqdm import tqdm

from onnxattr.attributions.advice import advice
from onnxattr.attributions.elsewhere import argument_hints, missing_call
from onnxattr.attributions.options import MEAN, OPTIONS, Options, Unasked, check_options, is_integer
from onnxattr.attributions.parameters import Parameters, own_names
from onnxattr.attributions.plan import Plan
from onnxattr.autodiff.registry import RuleTable
from onnxattr.autodiff.standard import STANDARD
from onnxattr.compile.axes import axis_names
from onnxattr.compile.baseline_kinds import OF_PATH, Fed
from onnxattr.compile.explainer_file import RENDERINGS, build
from onnxattr.compile.method import Definition
from onnxattr.compile.renderings.reducers import REDUCERS
from onnxattr.errors import ParameterError, one_door
from onnxattr.files import check_output
from onnxattr.loading.heads import is_binary
from onnxattr.loading.places import ALL_OUTPUTS
from onnxattr.loading.prepared import Outputs, Wrt, prepare
from onnxattr.loading.reading.source import ModelSource, converted, name_of
from onnxattr.loading.weights import check_place, write_model
from onnxattr.results import Explanation
from onnxattr.running.batches import is_dataset, pairs_of
from onnxattr.running.collected import Collected
from onnxattr.running.explained import explanation_of, scored
from onnxattr.running.feature_mask import fitting
from onnxattr.running.finite import Case, Results
from onnxattr.running.reason import reason
from onnxattr.running.trial import trial_of
from onnxattr.scores import score_of


class Attribution(Parameters, Options, ABC):
    """A gradient-based attribution method on an ONNX or Keras model.

    The explained score is the sum over the last axis of the model's output times the targets, as in Xplique.

    Args:
        model: A path, the bytes of a file, an ``onnx.ModelProto``, an ``onnx_ir.Model``, a Keras model, a PyTorch
            module or a scikit-learn estimator. What a framework made is converted once for all methods it is given to.
        output_layer: Where to cut the model: a layer name or index of the converted model, or the name of any value
            or node. None for the model's output.
        batch_size: Most rows (images times points) in one run of the model; None for no limit. On a CPU a run holds
            fewer where that is faster, which is where their values would not fit its cache; the numbers are the same.
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
        self.prepared = prepare(
            self._source(model),
            self.output_layer,
            self._explained(),
            self.precision,
            self._score.unit,
            self.verify,
            self._outputs(),
            self.neuron,
            self.rules,
        )
        with one_door(f"{self.name} cannot be set up"):
            self._plan = self._planned()
        self._warn()

    def _source(self, model: ModelSource) -> ModelSource:
        with one_door(f"{name_of(model)} cannot be converted"):
            return converted(model, self.sample)

    def _explained(self) -> Wrt:
        """The values that are explained, or the function that chooses them; see ``prepare``."""
        return self.wrt

    @abstractmethod
    def _definition(self) -> Definition:
        """The method, with its parameters checked."""

    def explain(self, inputs: Any, targets: Any = None, *, full: bool = False, **unknown: Any) -> Any:
        """Explains a batch of inputs.

        Args:
            inputs: Array of shape (N, ...), or for models with several inputs a list in the model's order or a dict by
                name; numpy arrays and tensors of TensorFlow or PyTorch alike. A table of named columns (pandas, polars)
                is matched by name with the columns that the model was converted with, or with its inputs. Or a
                ``tf.data.Dataset`` or any other iterable of batches ``x`` or ``(x, targets)``, read as it is needed.
            targets: One-hot rows or any float weights of the output's shape, integer labels (N,) with -1 for the
                predicted class, or None for the predicted class of every row. One label is for all rows. Where the
                model holds the names of its classes, names (N,), or one for all. Where one unit, (N, 1) or (N,), tells
                two classes apart, label 1 is the unit and label 0 its negative.
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
    def files(self) -> tuple[Path, ...]:
        """The files that the model is read from: its own and those of its external data."""
        return self.prepared.files

    @property
    def unit(self) -> str | None:
        """What the output is if it is one unit that tells two classes apart: "probability" or "logit" of class 1."""
        return self.prepared.unit if is_binary(self.prepared.unit) else None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the model's classes in their order, as far as the file has them."""
        return self.prepared.class_names

    @property
    def explained(self) -> tuple[str, ...]:
        """Names of what is explained, as it was asked for, in the order of the maps."""
        return self.prepared.asked

    @property
    def one_sample(self) -> bool:
        """Whether all of the inputs' first axis is one sample, as far as that is decided; see docs/models.md."""
        return self._plan.one_sample

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes that the model leaves open and the baseline does not, by their names."""
        return self._plan.sizes

    def predict(self, inputs: Any) -> np.ndarray:
        """The (cut) model's output for each row; the arguments and errors are those of ``explain``."""
        feeds, rows = self._plan.feeds(inputs, stacklevel=2)
        with one_door("The model cannot be run"):
            prediction = self._plan.driver.predict(feeds, rows)
        results = Results(self.check_finite)
        results.look(feeds, len(prediction), [], prediction)
        results.say(self._reason, stacklevel=2)
        return self._plan.as_given(prediction)

    def score(self, inputs: Any, targets: Any = None) -> np.ndarray:
        """The explained score of each row, float32 (N,); the arguments and errors are those of ``explain``."""
        with one_door("The model cannot be run"):
            return self._plan.scores(inputs, targets, stacklevel=2).astype(np.float32)

    def export(
        self,
        path: str | os.PathLike[str],
        rendering: str = "auto",
        *,
        target: str = "auto",
        baseline_input: bool = False,
        weights: str = "auto",
        check: bool = True,
    ) -> None:
        """Writes one model of standard operators that predicts and explains in one run; see docs/deploy.md.

        Its inputs are the model's own; ``target``; where there is noise ``seed``, an int64 scalar. A label that the
        model has no class for gives zeros: a graph cannot raise. Its outputs are ``prediction``, ``attribution``
        (``attribution_<name>`` for each of several explained inputs) and, for a method on a path,
        ``convergence_delta``, (N,): the sum of a row's attributions minus f(x) - f(b), and ``relative_gap``, (N,): its
        size over that of f(x) - f(b). The metadata entry
        ``onnxattr.explainer``, a JSON object, holds the method, its parameters and the SHA-256 of the model's file.

        Args:
            path: The file to write.
            rendering: "batch": all points of all rows in one run of the model; "loop": ``batch_size`` of them at a
                time, in bounded memory; "auto": a loop if one row alone has more points than ``batch_size``.
            target: "labels": int64 (N,), -1 for the predicted class; "weights": floats of the output's shape; "auto":
                labels where the output has the shape (N, classes), or is one unit that tells two classes apart.
            baseline_input: Whether a path's baseline is an input of the file, ``baseline`` (``baseline_<name>`` for
                each of several explained inputs), shaped like the explained input with one row, or as many as it has.
            weights: "inside" the file; "beside" it, in ``<path>.data``, or ``<path>.1.data`` where that is taken;
                "shared": where the model's own external data are, which must lie in the folder of ``path``; "auto":
                shared if they do, else inside, beside above 2 GiB.
            check: Whether the file is run once on a drawn row before it gets its name: it must load, predict what the
                model predicts and give maps of the right shapes. A warning says so where the model takes nothing that
                can be drawn.

        Raises:
            ModelError: If the model's batch is fixed, the method has several points and they shall be one batch; or if
                the check fails, and no file is written.
            ParameterError: If a parameter is outside its domain, or the file cannot be written.
        """
        check_place(weights)
        check_output(path, self.prepared.files)
        proto = self.explainer(rendering, target=target, baseline_input=baseline_input)
        trial = trial_of(proto, self.prepared, self.providers, self.sizes) if check else None
        write_model(proto, path, weights, self.prepared.folder, self.prepared.files, trial)

    def explainer(
        self, rendering: str = "auto", *, target: str = "auto", baseline_input: bool = False
    ) -> onnx.ModelProto:
        """The model that ``export`` writes; external tensors are where the model's own are.

        The arguments and errors are those of ``export``.
        """
        for name, given, allowed in (
            ("rendering", rendering, RENDERINGS),
            ("target", target, ("auto", "labels", "weights")),
        ):
            if given not in allowed:
                raise ParameterError(f"{name}={given!r}: expected one of {allowed}.")
        self._plan.decide(None, stacklevel=3)
        if self._plan.misfit is not None:
            raise self._plan.misfit
        request = self._plan.request
        if baseline_input:
            if not request.baselines:
                raise ParameterError(f"baseline_input=True: {self.name} has no baseline.")
            if any(isinstance(kind, OF_PATH) for kind in request.baselines):
                raise ParameterError(
                    f"baseline_input=True: {self.name} does not start at one baseline: a background set is in the "
                    "file, a blurred copy is made there."
                )
            request = request.with_baseline_inputs()
        elif any(isinstance(kind, Fed) for kind in request.baselines):
            raise ParameterError(
                "The baseline is a function, or has a row for each sample, which a file cannot hold: export it with "
                "baseline_input=True, and the file takes baselines as an input."
            )
        labels = self._plan.labels(target)
        method = {"method": self.name, "parameters": self._parameters()}
        with one_door(f"The explainer of {self.name} cannot be built"):
            return build(request, self._plan.driver.rows, rendering, labels, method, self.prepared)

    def _outputs(self) -> Outputs:
        """Which of the model's outputs are explained; an operator takes them all unless told otherwise.

        Raises:
            ParameterError: If that is said twice, or there are several and no operator.
        """
        named = self.output
        if named is None:
            every = not self._score.linear and not self._score.one_output and self.output_layer is None
            return ALL_OUTPUTS if every else None
        if self.output_layer is not None:
            raise ParameterError(
                f"output={named!r} and output_layer={self.output_layer!r} both say what is explained; give one of them."
            )
        if not isinstance(named, str) and len(named) > 1 and (self._score.linear or self._score.one_output):
            raise ParameterError(
                f"output={named!r}: several outputs need an operator that makes one number of them; name one, or give "
                "operator=<function or ONNX model>."
            )
        return named

    def _planned(self) -> Plan:
        """How the method runs on its model."""
        definition, score = replace(self._definition(), rules=self.rules), self._score
        return Plan(
            self.prepared,
            definition,
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

    def _collected(self, inputs: Any, targets: Any, keep: bool, plan: Plan | None = None) -> Collected:
        """The attributions; with ``keep`` also scores, inputs, and for a method on a path how far they miss them."""
        plan = plan or self._plan
        pairs = pairs_of(self.prepared, inputs, targets, self.batch_size)
        collected = Collected(self.prepared, is_dataset(inputs), keep)
        groups = zip(self.prepared.asked, plan.request.map_groups, strict=True)
        collected.grouped = frozenset(name for name, group in groups if group is not None)
        results, show = Results(self.check_finite), self.progress
        disable = None if show is None else not show
        with tqdm(total=0, disable=disable, desc=self.name, unit="grad", leave=False) as bar:
            for inputs, targets in pairs:
                feeds, rows = plan.feeds(inputs, stacklevel=3)
                feeds = feeds | plan.baselines(feeds, rows, results.rows, collected.dataset)
                collected.look_at(inputs)
                checked = plan.targets(targets, feeds, rows)
                driver = plan.driver
                bar.total += driver.work(rows)
                bar.refresh()
                with one_door(f"{self.name} cannot explain the model"), fitting(plan.request.map_groups):
                    run = driver.explain(feeds, checked, rows, results.rows, bar.update)
                    kept = scored(driver, run, feeds, checked, rows) if keep else None
                with np.errstate(over="ignore"):
                    collected.maps.append([array.astype(np.float32, copy=False) for array in run.maps])
                    for kept_in, array in (
                        (collected.deltas, run.delta),
                        (collected.differences, run.difference),
                        (collected.gaps, run.gap),
                    ):
                        kept_in += [] if array is None else [array.astype(np.float32)]
                    if run.spent is not None:
                        collected.spent.append(run.spent)
                deltas = [] if run.delta is None else collected.deltas[-1:]
                results.look(feeds, rows, collected.maps[-1], run.prediction, checked, deltas)
                collected.details += [] if kept is None else [kept]
        collected.join(plan.one_sample)
        if collected.dataset:
            plan.check_baselines(results.rows)
        results.say(lambda case: reason(plan.driver, case), stacklevel=3)
        self._look(collected, stacklevel=4)
        return collected

    def _explanation(self, collected: Collected) -> Explanation:
        request = self._plan.request
        named = zip(self.prepared.asked, self.prepared.wrt, request.channel_axes, strict=True)
        placement, grouped = request.placement, collected.grouped
        axes = {
            asked: axis_names(self.prepared, name, axis, placement, asked in grouped)
            for asked, name, axis in named
        }
        about = {"method": self.name, "parameters": self._parameters()}
        return explanation_of(collected, self._plan.one_sample, axes, about)

    def _look(self, collected: Collected, stacklevel: int) -> None:
        """Looks at what a call found beside the attributions; a method on a path may have to say something of it."""
        return

    def _reason(self, case: Case) -> str:
        return reason(self._plan.driver, case)

    def _check_arguments(self, unknown: Mapping[str, Any], *own: str) -> None:
        if unknown:
            known = ["inputs", "targets", "full", *own]
            raise ParameterError(
                f"explain() takes no {sorted(unknown)}.{argument_hints(unknown, known)} It takes {known}."
            )

    def _check_parameters(self) -> None:
        """Checks what can be checked without the model; a method checks its own parameters first."""
        self._score = score_of(self.operator)
        if self.reducer is not None and not (isinstance(self.reducer, str) and self.reducer in REDUCERS):
            raise ParameterError(f"reducer={self.reducer!r}: expected one of {[*REDUCERS, None]}.")
        if self.batch_size is not None and not is_integer(self.batch_size, at_least=1):
            raise ParameterError(f"batch_size={self.batch_size!r}: expected an integer from 1 on, or None.")
        if self.output_layer is not None and not isinstance(self.output_layer, str):
            if not is_integer(self.output_layer):
                raise ParameterError(
                    f"output_layer={self.output_layer!r}: expected the name or the index of a layer, or None."
                )
            self.output_layer = int(self.output_layer)
        check_options(self)

    def _warn(self) -> None:
        caller, frame = 2, inspect.currentframe()
        while (
            frame is not None and (frame := frame.f_back) is not None and frame.f_locals.get("self") is self
        ):
            caller += 1
        self._plan.warn(caller)
        asked = self.output_layer is not None or self.operator is not None
        request = replace(self._plan.request, prepared=self.prepared)
        for text in advice(request, self.name, asked, self.wrt is not None):
            warnings.warn(text, stacklevel=caller)
