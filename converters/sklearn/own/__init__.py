"""Estimators whose ONNX form is written here: skl2onnx has none, or one whose gradient is not a number."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from . import (
    calibration,
    classifiers,
    encoders,
    ensembles,
    features,
    imputers,
    kernels,
    linear,
    links,
    networks,
    processes,
    projections,
    quantiles,
    scalers,
    sigmoids,
    targets,
    trees,
)
from .writing import Writer

_MODULES = encoders, features, imputers, kernels, networks, processes, projections, quantiles, targets


@contextlib.contextmanager
def registered(exact: bool = False) -> Iterator[None]:
    """Inside the `with` block skl2onnx knows these estimators too, at any place inside others.

    Args:
        exact: Whether linear regressors compute in float64.
    """
    import skl2onnx._parse
    import skl2onnx.common._registration as registration
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import TargetEncoder

    tables = (
        sklearn_operator_name_map,
        skl2onnx._parse.sklearn_parsers_map,
        registration._converter_pool,
        registration._shape_calculator_pool,
    )
    with contextlib.ExitStack() as stack:
        for table in tables:
            stack.enter_context(mock.patch.dict(table))
        stack.enter_context(calibration.interpolated())
        stack.enter_context(sigmoids.shared_out())
        stack.enter_context(trees.missing_sent_on())
        svc = registration._converter_pool["SklearnLinearSVC"]
        # Pipelines ask their last step for plain tensors; LinearSVC gives nothing else, and does not know the word.
        options = {**svc.get_allowed_options(), "zipmap": [False]}
        registration._converter_pool["SklearnLinearSVC"] = type(svc)(svc._fct, options)
        parse_columns = skl2onnx._parse.sklearn_parsers_map[ColumnTransformer]
        skl2onnx._parse.sklearn_parsers_map[ColumnTransformer] = _behind_a_step(parse_columns)
        apart = (*skl2onnx._parse.do_not_merge_columns, SimpleImputer, TargetEncoder)
        stack.enter_context(mock.patch.object(skl2onnx._parse, "do_not_merge_columns", apart))
        stack.enter_context(scalers.in_doubles())
        stack.enter_context(ensembles.combined())
        stack.enter_context(links.as_they_are())
        if exact:
            stack.enter_context(linear.in_doubles())
        _register_own()
        yield


def _register_own() -> None:
    """Tell skl2onnx of what is written here."""
    import skl2onnx
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    for module in _MODULES:
        for kind, write in module.conversions().items():
            alias = f"Own{kind.__name__}"
            # Pipelines tell it selectors that are classifiers.
            plain = {"zipmap": [True, False]}
            skl2onnx.update_registered_converter(
                kind, alias, _declare_width, _conversion(write), parser=_parse, options=plain
            )
    for kind, write in classifiers.conversions().items():
        skl2onnx.update_registered_converter(
            kind,
            f"Own{kind.__name__}",
            calculate_linear_classifier_output_shapes,
            _classification(write),
            options={
                "zipmap": [True, False],
                "nocl": [True, False],
                "output_class_labels": [False, True],
            },
        )


def _parse(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """One operator with one output: skl2onnx would give clusters two.

    Imputers of missing texts pass on what there is: a model takes texts, and none that is missing.
    """
    from skl2onnx import get_model_alias
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    kind, alias = FloatTensorType, get_model_alias(type(model))
    if alias == "OwnSimpleImputer" and any(isinstance(value.type, StringTensorType) for value in inputs):
        if not isinstance(model.missing_values, str):
            return list(inputs)
        kind, alias = StringTensorType, "SklearnSimpleImputer"
    operator = scope.declare_local_operator(alias, model)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable("variable", kind([None, None])))
    return operator.outputs


def _behind_a_step(parse: Callable[..., Any]) -> Callable[..., Any]:
    """A parser of ColumnTransformers behind other steps, whose number of features skl2onnx does not know yet."""

    def parse_columns(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
        if len(inputs) == 1 and inputs[0].type.shape[1:] in ([], [None]):
            inputs[0].type.shape = [None, model.n_features_in_]
        return parse(scope, model, inputs, custom_parsers=custom_parsers)

    return parse_columns


def _declare_width(operator: Any) -> None:
    """How many features there are behind an operator."""
    model = operator.raw_operator
    if not hasattr(model, "transform") or hasattr(model, "x_rotations_"):  # which predict
        width = None
    elif hasattr(model, "lambdas_") or hasattr(model, "inverse_func"):
        width = sum(value.type.shape[1] for value in operator.inputs)
    else:
        width = len(model.get_feature_names_out())
    operator.outputs[0].type.shape = [None, width]


def _conversion(write: Callable[[Writer], str]) -> Callable[[Any, Any, Any], None]:
    def convert(scope: Any, operator: Any, container: Any) -> None:
        op = Writer(scope, operator, container)
        op.finish(write(op))

    return convert


def _classification(write: Callable[[Writer], tuple[str, str]]) -> Callable[[Any, Any, Any], None]:
    def convert(scope: Any, operator: Any, container: Any) -> None:
        op = Writer(scope, operator, container)
        scores, deciding = write(op)
        op.finish_classes(classifiers.labels(op, deciding), scores)

    return convert
