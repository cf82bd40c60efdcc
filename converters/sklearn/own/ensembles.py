"""Estimators that combine others: which of their numbers are read, and members that read all columns of a table."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from onnxattr.errors import ConversionError


@contextlib.contextmanager
def combined() -> Iterator[None]:
    """Inside the `with` block skl2onnx stacks and calibrates estimators of several inputs, and any of two classes.

    Of two classes it reads one score of each estimator only where all of them give probabilities.
    """
    import skl2onnx.common._registration as registration
    from skl2onnx.common import shape_calculator
    from skl2onnx.operator_converters import one_vs_rest_classifier, stacking

    classes = shape_calculator._infer_linear_classifier_output_types
    numbers = shape_calculator._infer_linear_regressor_output_types
    shapes = {
        "SklearnStackingClassifier": classes,
        "SklearnCalibratedClassifierCV": classes,
        "SklearnStackingRegressor": numbers,
    }
    pool = registration._converter_pool
    writers = {
        name: type(pool[name])(_numbers_first(pool[name]._fct), pool[name].get_allowed_options())
        for name in shapes
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(registration._shape_calculator_pool, shapes))
        stack.enter_context(mock.patch.dict(pool, writers))
        stack.enter_context(mock.patch.object(stacking, "_transform", _scores))
        stack.enter_context(mock.patch.object(stacking, "_transform_regressor", _numbers))
        # It takes the scores of a LinearSVC for one column; they are two, as those of others, of which it reads one.
        stack.enter_context(mock.patch.object(one_vs_rest_classifier, "LinearSVC", ()))
        yield


def _numbers_first(write: Callable[..., None]) -> Callable[..., None]:
    """A converter whose first input is one of numbers: skl2onnx takes its type for that of the scores.

    Several inputs are columns of a table, which those who read them choose by name.
    """
    from skl2onnx.common.data_types import StringTensorType

    def convert(scope: Any, operator: Any, container: Any) -> None:
        inputs = operator.inputs
        if len(inputs) > 1:
            given = sorted(inputs, key=lambda value: isinstance(value.type, StringTensorType))
            del inputs[:]
            inputs.extend(given)
        write(scope, operator, container)

    return convert


def _scores(scope: Any, operator: Any, container: Any, model: Any) -> str:
    """What a StackingClassifier gives its last estimator: the scores of the others, the last one of two."""
    members = []
    for member, method in zip(model.estimators_, model.stack_method_, strict=True):
        if method == "predict":
            raise ConversionError(
                f"StackingClassifier takes the classes that {type(member).__name__} predicts, which are piecewise "
                "constant: their gradient is 0 almost everywhere. Use stack_method='auto' and members with "
                "predict_proba or decision_function."
            )
        name = _of_member(scope, operator, container, member, method == "decision_function")
        if len(model.classes_) == 2:
            last, alone = (scope.get_unique_variable_name(kind) for kind in ("last", "alone"))
            container.add_initializer(last, 7, [1], [-1])
            container.add_node(
                "Gather", [name, last], alone, name=scope.get_unique_operator_name("Gather"), axis=1
            )
            name = alone
        members.append(name)
    return _side_by_side(scope, operator, container, members)


def _numbers(scope: Any, operator: Any, container: Any, model: Any) -> str:
    """What a StackingRegressor gives its last estimator: the predictions of the others."""
    members = [_of_member(scope, operator, container, member, None) for member in model.estimators_]
    return _side_by_side(scope, operator, container, members)


def _of_member(scope: Any, operator: Any, container: Any, member: Any, raw: bool | None) -> str:
    """The scores of a member, or its predictions where `raw` is None; skl2onnx converts it afterwards."""
    from skl2onnx import get_model_alias
    from skl2onnx.common.data_types import Int64TensorType

    inner = scope.declare_local_operator(get_model_alias(type(member)), member)
    inner.inputs = operator.inputs
    if raw is not None:
        if container.has_options(member, "raw_scores"):
            container.add_options(id(member), {"raw_scores": raw})
        inner.outputs.append(scope.declare_local_variable("member_label", Int64TensorType()))
    kind = type(operator.inputs[0].type)
    inner.outputs.append(scope.declare_local_variable("member", kind()))
    name: str = inner.outputs[-1].full_name
    return name


def _side_by_side(scope: Any, operator: Any, container: Any, members: list[str]) -> str:
    name: str = scope.get_unique_variable_name("members")
    if operator.raw_operator.passthrough:
        members = [*members, *(value.full_name for value in operator.inputs)]
    container.add_node("Concat", members, name, name=scope.get_unique_operator_name("Concat"), axis=1)
    return name
