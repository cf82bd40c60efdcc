"""What a model's file says of preprocessing, inputs and outputs is read as it was written, or refused in a sentence."""

import json

import pytest
from onnx import helper
from support.tiny_graphs import parse

from onnxattr import Saliency
from onnxattr.errors import ModelError, ParameterError
from onnxattr.loading.meaning import inputs_outputs as meaning
from onnxattr.loading.meaning.inputs_outputs import InputMeaning, Meaning, OutputMeaning, read_meaning
from onnxattr.loading.preprocessing import spec as preprocessing
from onnxattr.loading.preprocessing.spec import Preprocessing, read_preprocessing

SPECS = [
    Preprocessing("image", size=(256, 256), resize="shortest_edge", crop=(224, 224), scale=1 / 255),
    Preprocessing(
        "x", size=(64, 64), resize="letterbox", pad=(114,), layout="NCHW", dtype="float32", in_graph=True
    ),
    Preprocessing("x", size=(7, 9), order="BGR", mean=(103.939, 116.779, 123.68), attributions_at="input"),
    Preprocessing("x", resize="none", channels=1, height=28, width=28, std=(0.5,), source="given"),
]
MEANING = Meaning(
    {
        "image": InputMeaning("image", normalized_by=("Rescaling",)),
        "ids": InputMeaning("tokens", vocabulary="v.txt"),
    },
    {"logits": OutputMeaning("logits"), "price": OutputMeaning("value", "EUR")},
)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.resize)
def test_preprocessing_is_read_as_written(spec):
    assert read_preprocessing({preprocessing.KEY: spec.text()}) == spec


def test_meaning_is_read_as_written():
    assert read_meaning({meaning.KEY: MEANING.text()}) == MEANING
    assert read_meaning({}) == Meaning()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        (json.dumps({"version": 2}), "version 2, expected 1"),
        (json.dumps({"version": 1, "colour": 3}), "colour"),
        (json.dumps({"version": 1, "layout": "HWC"}), "layout is 'HWC'; expected one of 'NHWC', 'NCHW'"),
        (json.dumps({"version": 1, "size": [224]}), r"size is \[224\]"),
        (json.dumps({"version": 1, "std": [1, 0, 1]}), "std is 0"),
        (json.dumps({"version": 1, "mean": [1, 2]}), "one number, or 3"),
        (json.dumps({"version": 1, "mean": [float("nan")]}), "finite"),
    ],
)
def test_damaged_preprocessing_is_refused(text, says):
    with pytest.raises(ModelError, match=says):
        read_preprocessing({preprocessing.KEY: text})


@pytest.mark.parametrize("text", ["{", "[]", '{"inputs": 3}', '{"outputs": {"y": {"unit": 3}}}'])
def test_damaged_meaning_is_refused(text):
    with pytest.raises(ModelError, match="damaged"):
        read_meaning({meaning.KEY: text})


def test_wrong_fields_are_refused():
    with pytest.raises(ParameterError, match="order is 'BGR'; expected 'RGB' for images of one channel"):
        Preprocessing("x", size=(2, 2), channels=1, order="BGR")


def test_methods_and_their_files_tell(tmp_path):
    text = "g (float[N,3,4,4] image) => (float[N,3] logits) { logits = ReduceMean<axes=[2, 3], keepdims=0>(image) }"
    model = parse(text, 17)
    helper.set_model_props(model, {preprocessing.KEY: SPECS[0].text(), meaning.KEY: MEANING.text()})
    method = Saliency(model)
    method.export(tmp_path / "explainer.onnx")
    from onnxattr.running.explainers.explainer import load

    for told in (method, load(tmp_path / "explainer.onnx")):
        assert told.preprocessing == SPECS[0]
        assert told.meaning == MEANING
