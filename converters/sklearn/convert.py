"""scikit-learn estimators to ONNX: `to_onnx` takes a fitted estimator or pipeline with sample rows."""

import os
from importlib import import_module
from typing import Any

import numpy as np
import onnx

from onnxattr.autodiff.refused import reasons
from onnxattr.errors import ConversionError, ShapeError
from onnxattr.files import check_output
from onnxattr.loading.meaning.class_names import KEY as CLASS_NAMES_KEY
from onnxattr.loading.meaning.class_names import class_names_text
from onnxattr.loading.meaning.features import KEY as FEATURES_KEY
from onnxattr.loading.meaning.features import features_text
from onnxattr.loading.meaning.inputs_outputs import KEY as MEANING_KEY
from onnxattr.loading.meaning.inputs_outputs import InputMeaning, Meaning, OutputMeaning
from onnxattr.loading.stepped import KEY as STEPS_KEY
from onnxattr.loading.stepped import stepped_text
from onnxattr.loading.weights.files import write
from onnxattr.running.given.arrays import as_array
from onnxattr.running.given.frames import is_frame

from ..common import graph_edit, onnx_model
from ..common.verify import values
from . import mixed
from .compared import OtherNumbersError, compare, far_apart
from .foreign import (
    advice,
    advice_on_class,
    advice_on_classes,
    in_words,
    refuse_texts,
    refuse_what_is_read_otherwise,
)
from .labels import write_labels
from .layers import write_table
from .names import by_position, feature_names, numbers_of, parts_of
from .operators import (
    write_neighbour_weights,
    write_network_outputs,
    write_scores_as_column,
    write_sigmoids,
)
from .own import registered
from .own.sigmoids import write_sigmoids_over_sums
from .simplified import simplified, with_named_columns
from .stepped import stepped_parts
from .steps import chosen, chosen_last

_OPSETS = range(13, 23)
_INPUT = "X"
_KINDS = {"probabilities": "probabilities", "variable": "value"}


def to_onnx(
    estimator: Any,
    sample: Any = None,
    path: str | os.PathLike[str] | None = None,
    *,
    opset: int = 18,
    verify: bool = True,
    by_column: bool = False,
) -> onnx.ModelProto:
    """Convert a fitted scikit-learn estimator to ONNX and check the result against it.

    The input is "X", float32 (N, features); of a table with columns of text there is one for each column, (N, 1),
    under its name, and text goes in as it is. Where the estimator was fitted on a table, or the sample is one, the
    names of the features are kept in the metadata, and the columns of tables are matched with them. Classifiers have
    the outputs "label" and "probabilities", or "scores" where they have no probabilities.

    Args:
        estimator: A fitted estimator or pipeline that skl2onnx knows.
        sample: Rows as the estimator takes them, (n, features), an array or a table; they give the
            number of features and are used for the check.
        path: Also write the model to this file.
        opset: Highest ONNX opset to use, 13 to 22; the file declares the lowest that its operators need.
        verify: Compare the outputs with the estimator's in float64, on the sample and on random rows between its rows
            and beyond them.
        by_column: Whether the model has one input for each column of a table of numbers, as of one with text: numbers
            that an encoder looks up as categories are explained by what it makes of them, so that maps add up.

    Returns:
        The ONNX model.

    Raises:
        ConversionError: The estimator is not fitted, not known to skl2onnx, the sample has other columns than it was
            fitted on, or the outputs differ by more than 1e-4
            of their largest value.
        RuntimeMissingError: `verify` without ONNX Runtime.
    """
    for name in ("sklearn", "skl2onnx"):
        try:
            import_module(name)
        except ImportError as error:
            raise ConversionError(
                f"Converting a scikit-learn estimator needs the package {name!r}, which cannot be imported ({error}): "
                "pip install 'onnxattr[sklearn]'"
            ) from error
    if path is not None:
        check_output(path)
    if opset not in _OPSETS:
        raise ConversionError(f"unsupported opset={opset}; supported: {_OPSETS.start} to {_OPSETS.stop - 1}.")
    if by_column and not is_frame(sample):
        raise ConversionError("by_column=True needs a table with named columns as the sample.")
    refuse_texts(estimator)
    if (texts := mixed.text_columns(sample)) or by_column:
        return _mixed(estimator, sample, texts, path, opset, verify)
    names = feature_names(estimator, sample)
    rows = _rows(numbers_of(sample, names), estimator)
    estimator = by_position(estimator)
    converted = _convert(estimator, rows, opset)
    if verify:
        try:
            compare(converted, estimator, rows, names)
        except OtherNumbersError:
            converted = _convert(estimator, rows, opset, exact=True)
            compare(converted, estimator, rows, names)
    write_table(converted, estimator, far_apart(estimator, rows))
    if names is not None:
        onnx_model.set_property(converted, FEATURES_KEY, features_text({_INPUT: names}))
    _describe(converted, estimator, {_INPUT: InputMeaning("table")}, opset)
    if path is not None:
        write(converted, path)
    return converted


def _describe(
    converted: onnx.ModelProto, estimator: Any, inputs: dict[str, InputMeaning], opset: int
) -> None:
    """Write what the estimator tells of classes, inputs and outputs."""
    if (classes := getattr(estimator, "classes_", None)) is not None and np.ndim(classes) == 1:
        onnx_model.set_property(converted, CLASS_NAMES_KEY, class_names_text(classes))
    if parts := stepped_parts(estimator, converted.graph, _ids_by_scores(estimator)):
        onnx_model.set_property(converted, STEPS_KEY, stepped_text(parts))
    outputs = {v.name: OutputMeaning(_KINDS[v.name]) for v in converted.graph.output if v.name in _KINDS}
    onnx_model.set_property(converted, MEANING_KEY, Meaning(inputs, outputs).text())
    onnx_model.set_versions(converted, opset, ("skl2onnx", "scikit-learn"))


def _mixed(
    estimator: Any, sample: Any, texts: list[str], path: Any, opset: int, verify: bool
) -> onnx.ModelProto:
    """The model of an estimator that takes a table with columns of text."""
    types = mixed.types_of(sample, texts)
    converted = _converted(with_named_columns(estimator), types, opset)
    graph_edit.merge_copies(converted.graph, mixed.ENCODING)  # as members of ensembles encode a column
    mixed.name_inputs(converted, [name for name, _ in types])
    _declare_outputs(converted, estimator, mixed.feeds_of(sample, texts))
    write_sigmoids_over_sums(converted.graph)
    if verify:
        mixed.check(converted, estimator, sample, texts)
    mixed.write_layers(converted, estimator, sample, texts)
    mixed.describe(converted, texts)
    inputs = {value.name: InputMeaning("table") for value in converted.graph.input}
    _describe(converted, estimator, inputs, opset)
    if path is not None:
        write(converted, path)
    return converted


def _rows(sample: Any, estimator: Any) -> np.ndarray:
    if sample is None:
        raise ConversionError("The sample is missing: give a few rows as the estimator takes them.")
    try:
        rows = as_array(sample, "The sample")
        rows = rows.astype(np.float64)
    except ShapeError as error:
        raise ConversionError(f"{error} Encode text and categories before the pipeline.") from error
    if rows.ndim != 2 or not len(rows):
        raise ConversionError(f"The sample has shape {rows.shape}; expected rows, (n, features).")
    return rows


def _convert(estimator: Any, rows: np.ndarray, opset: int, exact: bool = False) -> onnx.ModelProto:
    from skl2onnx.common.data_types import FloatTensorType

    types = [(_INPUT, FloatTensorType([None, rows.shape[1]]))]
    converted = _converted(simplified(estimator), types, opset, exact)
    _declare_outputs(converted, estimator, {_INPUT: rows.astype(np.float32)})
    write_sigmoids_over_sums(converted.graph)
    onnx_model.check_model(converted, [_INPUT])
    return converted


def _converted(
    estimator: Any, types: list[tuple[str, Any]], opset: int, exact: bool = False
) -> onnx.ModelProto:
    """What skl2onnx makes of a simplified estimator with some inputs."""
    import skl2onnx
    from sklearn.base import is_classifier

    last = chosen_last(estimator)
    if not any(hasattr(last, name) for name in ("predict_proba", "decision_function")) and (
        hasattr(last, "classes_") and is_classifier(last)
    ):
        raise ConversionError(
            f"{type(last).__name__} gives classes alone, which are piecewise constant: their gradient is 0 almost "
            f"everywhere. {advice_on_classes(last)}."
        )
    refuse_what_is_read_otherwise(parts_of(estimator))
    settings: dict[str, Any] = {"target_opset": {"": opset, "ai.onnx.ml": 3}}
    try:
        with registered(exact):
            if is_classifier(estimator):
                settings["options"] = _options(estimator)
            converted: onnx.ModelProto = skl2onnx.convert_sklearn(estimator, initial_types=types, **settings)
    except ConversionError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:500]
        if "TreeEnsemble" in reason:  # some versions of scikit-learn have trees that skl2onnx cannot write
            (why,) = reasons(["ai.onnx.ml::TreeEnsembleRegressor"])
            raise ConversionError(
                f"skl2onnx could not convert the trees of {type(estimator).__name__}. {why}"
            ) from error
        raise ConversionError(
            f"skl2onnx could not convert {type(estimator).__name__}: {in_words(reason)}. {advice(estimator)}."
        ) from error
    converted.graph.name = type(chosen_last(estimator)).__name__  # skl2onnx draws a random one
    converted.opset_import.sort(key=lambda entry: entry.domain)  # it writes them in the order of a set
    write_sigmoids(converted.graph)
    write_neighbour_weights(converted.graph)
    write_network_outputs(converted.graph, chosen_last(estimator))
    write_scores_as_column(converted.graph, chosen_last(estimator))
    graph_edit.remove_dead_nodes(converted.graph, [])
    onnx_model.prune_initializers(converted)
    return converted


def _declare_outputs(converted: onnx.ModelProto, estimator: Any, feeds: dict[str, np.ndarray]) -> None:
    """Give the outputs their names, and their shapes in a run: skl2onnx states some wrongly."""
    graph, last = converted.graph, chosen_last(estimator)
    if graph.output[-1].name == "probabilities" and not hasattr(last, "predict_proba"):
        graph_edit.rename_values(graph, {"probabilities": "scores"})
        graph.output[-1].name = "scores"
    del graph.value_info[:]
    write_labels(graph, estimator)
    graph_edit.remove_dead_nodes(graph, [])
    onnx_model.prune_initializers(converted)
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        found = values(converted, [], {name: rows[:2] for name, rows in feeds.items()})
    except ConversionError as error:
        if not (said := advice_on_class(estimator)):
            raise
        raise ConversionError(
            f"What skl2onnx writes of {type(last).__name__} does not run. {said}."
        ) from error
    if several := [value.name for value in graph.output if not isinstance(found[value.name], np.ndarray)]:
        raise ConversionError(
            f"{type(last).__name__} gives a list of arrays, which skl2onnx writes as a sequence, {several[-1]!r}. "
            "Convert and explain the estimators in it one by one (estimators_)."
        )
    for value in (*graph.input, *graph.output):
        sizes = (feeds if value.name in feeds else found)[value.name].shape[1:]
        shape = onnx.helper.make_tensor_value_info("", 1, [onnx_model.BATCH, *sizes]).type.tensor_type.shape
        value.type.tensor_type.shape.CopyFrom(shape)


def _read_by_scores(part: Any) -> list[Any]:
    """The classifiers that one reads the scores of, though they may have probabilities."""
    if hasattr(part, "calibrators"):
        return [part.estimator] if hasattr(part.estimator, "decision_function") else []
    methods = getattr(part, "stack_method_", [])
    if not methods:
        return []
    return [
        one for one, method in zip(part.estimators_, methods, strict=True) if method == "decision_function"
    ]


def _ids_by_scores(estimator: Any) -> set[int]:
    return {id(chosen_last(member)) for part in parts_of(estimator) for member in _read_by_scores(part)}


def _options(classifier: Any) -> dict[int, dict[str, bool]]:
    """Plain tensors instead of dictionaries, and scores where there are no probabilities, of classifiers inside too."""
    from skl2onnx import get_model_alias
    from skl2onnx.common._registration import get_converter
    from sklearn.base import is_classifier

    last, parts = chosen_last(classifier), parts_of(classifier)
    raw = {id(part) for part in parts if hasattr(part, "predict") and not hasattr(part, "predict_proba")}
    raw |= _ids_by_scores(classifier)
    options = {}
    for part in parts:
        wanted = {"zipmap": False} if chosen(part) is last else {}
        # Parts that predict nothing themselves, such as kernels, are no estimators, which is_classifier may refuse.
        if id(part) in raw and is_classifier(part):
            wanted["raw_scores"] = True
        if wanted:
            known = get_converter(get_model_alias(type(part))).get_allowed_options() or {}
            passed_on = known == "passthrough"  # searches
            options[id(part)] = {name: value for name, value in wanted.items() if passed_on or name in known}
    return options
