"""Optional inputs and attributes that leave the outputs of a node as they are leave its gradient as it is."""

import itertools
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.defs import OpSchema
from support.gradient_graphs import cotangents_of, gradients_of, run
from support.rule_cases import Case
from support.rule_cases.tables import CASES

from onnxattr.compile.gradient import vjp
from onnxattr.errors import ModelError, UnforeseenError
from onnxattr.session import Session

#: ONNX Runtime ends the process on some frame lengths of STFT; of Squeeze it takes no axes for all, as ONNX does not.
LEFT_OUT = {"STFT", "Squeeze"}
ARRAYS = [
    np.array(value, kind) for value, kind in itertools.product((0, 1, [], [0], [1]), (np.float32, np.int64))
] + [np.array([-1]), np.array(False), np.array(True)]
NUMBERS = {
    OpSchema.AttrType.INT: [0, 1, -1, 2],
    OpSchema.AttrType.FLOAT: [0.0, 1.0, -0.5],
    OpSchema.AttrType.INTS: [[0], [1], [1, 1], [0, 0, 0, 0], [0, 1], [2, 3]],
}
WORDS = {
    "auto_pad": ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"],
    "mode": ["constant", "linear", "nearest"],
    "direction": ["forward"],
    "coordinate_transformation_mode": ["half_pixel", "asymmetric"],
    "nearest_mode": ["floor", "round_prefer_floor"],
    "keep_aspect_ratio_policy": ["stretch", "not_larger"],
    "reduction": ["none"],
    "approximate": ["none", "tanh"],
    "padding_mode": ["zeros"],
}
OPERATORS = sorted({row.op for row in CASES if "::" not in row.op and row.formula is None} - LEFT_OUT)


def variants(row: Case) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The model of a row with one more input or attribute of its node."""
    model = row.model()
    (node,) = model.graph.node
    schema = onnx.defs.get_schema(row.op, row.opset, "")
    optional = OpSchema.FormalParameterOption.Optional
    for index, formal in enumerate(schema.inputs):
        if formal.option == optional and "".join(node.input[index : index + 1]) == "":
            for array in ARRAYS:
                made = onnx.ModelProto()
                made.CopyFrom(model)
                inputs = [*node.input, *[""] * (index + 1 - len(node.input))]
                inputs[index] = "more"
                made.graph.node[0].input[:] = inputs
                made.graph.initializer.append(numpy_helper.from_array(array, "more"))
                yield f"{formal.name}={array.dtype}{array.tolist()}", made
    there = {attribute.name for attribute in node.attribute}
    for name, attribute in schema.attributes.items():
        for value in [] if name in there else NUMBERS.get(attribute.type, WORDS.get(name, [])):
            made = onnx.ModelProto()
            made.CopyFrom(model)
            made.graph.node[0].attribute.append(helper.make_attribute(name, value))
            yield f"{name}={value}", made


def same_outputs(model: onnx.ModelProto, row: Case) -> bool:
    """Whether ONNX Runtime takes a model, and gives what it gives for the row."""
    try:
        session = Session(model)
        found = dict(zip(session.outputs, session.run(row.feeds()), strict=True))
    except ModelError:
        return False
    return all(
        found[name].shape == array.shape and np.array_equal(found[name], array, equal_nan=True)
        for name, array in row.primal().items()
    )


@pytest.mark.slow
@pytest.mark.parametrize("op", OPERATORS)
def test_gradients_stay(op):
    for row in CASES:
        if row.op != op or row.formula is not None or not onnx.defs.has(op, row.opset, ""):
            continue
        cotangents = cotangents_of(row.gradient(), row.primal())
        expected = gradients_of(run(row.gradient(), row.feeds() | cotangents))
        for what, model in variants(row):
            if not same_outputs(model, row):
                continue
            try:
                gradient = vjp(model, row.wrt())
            except UnforeseenError:
                raise
            except ModelError:
                continue  # refused, with a reason
            found = gradients_of(run(gradient, row.feeds() | cotangents))
            for name, array in expected.items():
                most = np.abs(array).max(initial=1e-9)
                np.testing.assert_allclose(found[name], array, atol=1e-5 * most, err_msg=f"{row}, {what}")
