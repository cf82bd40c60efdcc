"""Names of classes that a graph holds: of a ZipMap, a classifier, or a list in which the largest score is looked up."""

import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.small_models import build, node, random

import onnxattr
from onnxattr import GradientInput
from onnxattr.inspection import facts

INTS, STRINGS = [2, 3, 1], ["cat", "dog", "eel"]
X, W = random(1, 4, 5), random(2, 5, 3)
ML = {"domain": "ai.onnx.ml"}


def _model(nodes, more=(), **weights):
    """A linear model of scores p, and the nodes and outputs that tell its classes."""
    value = helper.make_tensor_value_info
    return build(
        [node("MatMul", ["x", "w"], ["p"]), *nodes],
        [value("x", TensorProto.FLOAT, ["N", 5])],
        [value("p", TensorProto.FLOAT, ["N", 3]), *more],
        {"w": W, **weights},
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)],
    )


def _zipped(labels):
    strings = isinstance(labels[0], str)
    key = helper.make_map_type_proto(8 if strings else 7, helper.make_tensor_type_proto(1, []))
    made = node("ZipMap", ["p"], ["z"], **ML, **{f"classlabels_{'strings' if strings else 'int64s'}": labels})
    model = _model([made], [helper.make_value_info("z", helper.make_sequence_type_proto(key))])
    model.graph.output.pop(0)
    return model


def _looked_up(operator, labels, **options):
    kind = TensorProto.STRING if isinstance(labels[0], str) else TensorProto.INT64
    table = np.array(labels, object if kind == TensorProto.STRING else np.int64)
    largest = node("ArgMax", ["p"], ["i"], axis=1, keepdims=0)
    label = [node(operator, ["table", "i"], ["l"], **options), node("Reshape", ["l", "flat"], ["label"])]
    more = [helper.make_tensor_value_info("label", kind, ["N"])]
    return _model([largest, *label], more, table=table, flat=np.array([-1]))


def _classifier(labels):
    strings = isinstance(labels[0], str)
    weights = {"coefficients": W.T.ravel().tolist(), "intercepts": [0.0] * 3, "post_transform": "NONE"}
    names = {f"classlabels_{'strings' if strings else 'ints'}": labels}
    made = node("LinearClassifier", ["x"], ["label", "p"], **ML, **weights, **names)
    more = [helper.make_tensor_value_info("label", 8 if strings else 7, ["N"])]
    model = _model([made], more)
    model.graph.node.pop(0)
    model.graph.initializer.pop()
    return model


def _in_a_constant(labels):
    model = _looked_up("Gather", labels)
    strings = isinstance(labels[0], str)
    constant = node("Constant", [], ["table"], **{f"value_{'strings' if strings else 'ints'}": labels})
    model.graph.node.insert(0, constant)
    del model.graph.initializer[1]
    return model


FORMS = {
    "a ZipMap": _zipped,
    "a linear classifier": _classifier,
    "a list, by ArrayFeatureExtractor": lambda labels: _looked_up("ArrayFeatureExtractor", labels, **ML),
    "a list, by Gather": lambda labels: _looked_up("Gather", labels),
    "a list in a Constant": _in_a_constant,
}


def _encoded(labels):
    model = _looked_up("Gather", ["a", "b", "c"])
    settings = {"keys_int64s": [0, 1, 2], "values_strings": labels}
    model.graph.node[2].CopyFrom(node("LabelEncoder", ["i"], ["l"], **ML, **settings))
    return model


@pytest.fixture(params=["driven", "file"])
def method(request, tmp_path):
    def made(model):
        found = GradientInput(model, reducer=None)
        if request.param == "driven":
            return found
        found.export(tmp_path / "e.onnx")
        return onnxattr.load(tmp_path / "e.onnx")

    return made


@pytest.mark.parametrize("form", FORMS)
def test_names_are_targets(form, method):
    """The map of class c is x * W[:, c], and the classes stand in the order of the names."""
    explained = method(FORMS[form](STRINGS)).explain(X, ["dog", "cat", "eel", "dog"])
    np.testing.assert_allclose(explained, X * W[:, [1, 0, 2, 1]].T, rtol=1e-5)
    assert facts(FORMS[form](STRINGS))["classes"] == STRINGS


@pytest.mark.parametrize("form", FORMS)
def test_a_label_that_is_another_class_is_said(form, method):
    made = method(FORMS[form](INTS))
    with pytest.warns(UserWarning, match="Label 1 is the class at place 1, counted from 0: '3'"):
        np.testing.assert_allclose(made.explain(X, [1, 2, 1, 2]), X * W[:, [1, 2, 1, 2]].T, rtol=1e-5)
    named = made.explain(X, ["1", "2", "3", "1"])
    np.testing.assert_allclose(named, X * W[:, [2, 0, 1, 2]].T, rtol=1e-5)


def test_names_of_a_label_encoder():
    assert facts(_encoded(STRINGS))["classes"] == STRINGS


def test_names_in_the_metadata_come_first():
    model = _zipped(STRINGS)
    helper.set_model_props(model, {"names": "['a', 'b', 'c']"})
    assert facts(model)["classes"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "text", ['{"0": "a", "1": "b", "0": "c"}', "{0: 'a', 1: 'b', 0: 'c'}", '{"0": "a", "1": "b", "00": "c"}']
)
def test_two_names_of_one_class_are_none(text):
    model = _zipped([0, 1])
    helper.set_model_props(model, {"names": text})
    assert facts(model)["classes"] == []


@pytest.mark.parametrize("form", FORMS)
def test_places_are_no_names(form):
    assert facts(FORMS[form]([0, 1, 2]))["classes"] == []


def test_two_lists_are_none():
    model, other = _zipped(STRINGS), _looked_up("Gather", ["x", "y", "z"])
    model.graph.node.extend(other.graph.node[1:])
    model.graph.initializer.extend(one for one in other.graph.initializer if one.name != "w")
    model.graph.output.append(other.graph.output[1])
    assert facts(model)["classes"] == []


def test_another_output_of_scores_may_have_other_classes():
    model = _looked_up("Gather", STRINGS)
    model.graph.node.append(node("Sin", ["p"], ["q"]))
    model.graph.output.append(helper.make_tensor_value_info("q", TensorProto.FLOAT, ["N", 3]))
    assert facts(model)["classes"] == []


def test_names_of_fewer_classes_than_the_output_has_say_nothing_of_its_labels():
    """Label 3 of four columns, where three names are 1, 2 and 3."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[N,4] x) => (float[N,4] y) { y = Sin(x) }'
    )
    helper.set_model_props(model, {"names": "['1', '2', '3']"})
    x = random(3, 1, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = GradientInput(model).explain(x, [3])
    np.testing.assert_allclose(found, x * np.cos(x) * [[0, 0, 0, 1]], rtol=1e-5, atol=1e-7)
