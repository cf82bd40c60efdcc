"""Bad input gives one clear error: what was given, what was expected, what to do; before any session runs."""

import gzip
import io
import json
import pickle

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.methods import NEEDED, ON_ANY_MODEL
from support.small_models import build, cnn_nchw, elementwise, embedding, mlp, node, rows, two_inputs
from support.tiny_graphs import parse

import onnxattr
import onnxattr.attributions as attributions
from onnxattr.autodiff.standard import STANDARD
from onnxattr.errors import (
    ConversionError,
    FoldedLayerError,
    ModelError,
    OnnxAttrError,
    OperatorError,
    ParameterError,
    RuntimeMissingError,
    ShapeError,
    TargetError,
    UnforeseenError,
    UnsupportedOpError,
)
from onnxattr.session import Session

MLP, CNN, TWO, TOKENS = mlp(), cnn_nchw(), two_inputs(), embedding()
X, IMAGES = MLP.given, CNN.given
VECTORS = {"x": ["N", 4]}, {"y": ["N", 4]}


def explained(model=MLP.model, inputs=X, targets=None, method="Saliency", **options):
    return getattr(attributions, method)(model, **options).explain(inputs, targets)


def mlp_with(**fields):
    """The MLP with other fields of its ModelProto."""
    model = onnx.ModelProto()
    model.CopyFrom(MLP.model)
    if "opset" in fields:
        model.opset_import[0].version = fields["opset"]
    if "ir_version" in fields:
        model.ir_version = fields["ir_version"]
    if "layers" in fields:
        onnx.helper.set_model_props(model, {"onnxattr.layers": fields["layers"]})
    if "views" in fields:
        onnx.helper.set_model_props(model, {"onnxattr.layer_views": fields["views"]})
    return model


def layer(name, index, output, path=None, folded=None):
    path = path or name
    return {
        "name": name, "index": index, "class": "Dense", "path": path, "output": output, "folded": folded, "relu": None,
        "can_be_kept": folded is not None,
    }  # fmt: skip


LAYERS = json.dumps({
    "version": 1,
    "layers": [
        layer("hidden", 0, "active"),
        layer("scaling", 1, None, folded="folded into 'out'; convert with keep_layers=['scaling']"),
        layer("twin", None, "hidden", "left/twin"),
        layer("twin", None, "active", "right/twin"),
        layer("out", 2, "logits"),
    ],
})  # fmt: skip


def file_of(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


def two_outputs():
    nodes = [node("Relu", ["x"], ["y"]), node("Tanh", ["x"], ["z"])]
    return build(nodes, VECTORS[0], {"y": ["N", 4], "z": ["N", 4]})


def without_weights_file(tmp_path):
    path = tmp_path / "external.onnx"
    onnx.save(
        mlp_with(), path, save_as_external_data=True, location="external.bin", size_threshold=0
    )  # fmt: skip
    (tmp_path / "external.bin").unlink()
    return path


class InferenceSession:
    """Named as ONNX Runtime's."""


DAMAGED = MLP.model.SerializeToString()[:-100]
UNKNOWN_OP = build([node("Nonsense", ["x"], ["y"])], *VECTORS)
UNKNOWN_DOMAIN = build(
    [node("Fancy", ["x"], ["y"], domain="com.example", name="fancy")], *VECTORS,
    opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("com.example", 1)],
)  # fmt: skip
ROUNDED = build(
    [node("Cast", ["x"], ["i"], to=TensorProto.INT32), node("Cast", ["i"], ["y"], to=TensorProto.FLOAT)],
    *VECTORS,
)
CLASSES_ONLY = build([node("ArgMax", ["x"], ["y"], axis=1)], VECTORS[0], {"y": (["N", 1], TensorProto.INT64)})
WRONG_TYPES = build([node("Gemm", ["x", "w"], ["y"])], *VECTORS, {"w": np.ones((4, 4), np.int64)})

#: ONNX's inference takes such axes, and ONNX Runtime refuses the model.
SCALAR_AXES = build([node("ReduceMean", ["x", "a"], ["y"])], *VECTORS, {"a": np.array(1)})
CAST_TO_NONE = build([node("Cast", ["x"], ["a"], to=0), node("Mul", ["a", "a"], ["y"])], *VECTORS)

#: Before opset 14 a normalisation with five outputs trains.
TRAINS = parse(
    """g (float[N,4] x, float[4] s, float[4] b, float[4] m, float[4] v) => (float[N,4] y) {
        y, m1, v1, m2, v2 = BatchNormalization(x, s, b, m, v) }""",
    13,
)

CLIP = parse(
    """g (float[T,N,2] x, float[1,3,2] w, float[1,3,3] r) => (float[T,1,N,3] y) {
        y = RNN<hidden_size=3, clip=-0.5>(x, w, r) }"""
)
FLAG = build(
    [node("ReduceSum", ["x"], ["y"], name="total", noop_with_empty_axes=2)], {"x": ["N", 4]}, {"y": None}
)
#: ONNX Runtime reads it as 0, and a transposition of -1 as 1.
LOOKS_BACK = parse(
    """g (float[N,3,4] x, float[4,12] w) => (float[N,3,4] y) {
        [heads] y = com.microsoft.Attention<num_heads=2, unidirectional=-1>(x, w) }""",
    domains="com.microsoft",
)
#: ONNX Runtime ends the process on a Split with an output of no name.
UNNAMED = build(
    [node("Split", ["x"], ["y", ""], axis=1, num_outputs=2, name="halves")], VECTORS[0], {"y": ["N", 2]}
)

#: Of a tensor without a shape not even the number of axes is known.
SHAPELESS = parse("g (float[] x) => (float[N,3] y) { y = Tanh(x) }")
RESHAPED = parse("g (float[N,4] x, int64[k] s) => (float[] y) { t = Tanh(x) y = Reshape(t, s) }")
BESIDE = parse("g (float[N,4] x, float[] z) => (float[N,4] y) { t = Tanh(x) y = Mul(t, z) }")

MODELS = {
    "missing file": (lambda p: p / "nowhere.onnx", ModelError, ["nowhere.onnx", "does not exist", "expected the path"]),
    "directory": (lambda p: p, ModelError, ["not a file", "expected the path"]),
    "empty file": (lambda p: file_of(p, "a.onnx", b""), ModelError, ["a.onnx", "0 bytes", "Export"]),
    "damaged file": (lambda p: file_of(p, "a.onnx", DAMAGED), ModelError, ["a.onnx", "damaged", "Export it again"]),
    "not an ONNX file": (lambda p: file_of(p, "a.onnx", b"GIF89a!"), ModelError, ["a.onnx", "not an ONNX", "Export"]),
    "a pointer of Git LFS": (
        lambda p: file_of(p, "a.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"),
        ModelError, ["a.onnx", "not an ONNX", "git lfs pull"],
    ),
    "a web page": (lambda p: file_of(p, "a.onnx", b"\n<!DOCTYPE html><html>"), ModelError, ["web page", "download"]),
    "gzip": (lambda p: file_of(p, "a.onnx.gz", gzip.compress(b"a")), ModelError, ["gzip", "unpack"]),
    "ZIP": (lambda p: file_of(p, "a.pt", b"PK\x03\x04" + b"a" * 20), ModelError, ["ZIP", "unpack", "converted"]),
    "HDF5": (lambda p: file_of(p, "a.onnx", b"\x89HDF\r\n"), ModelError, ["HDF5", "name it .h5"]),
    "a pickle": (lambda p: file_of(p, "a.onnx", pickle.dumps([1])), ModelError, ["a pickle", "convert"]),
    "clip below 0": (lambda p: CLIP, ModelError, ["RNN node", "clip=-0.5; supported: numbers above 0"]),
    "flag of 2": (lambda p: FLAG, ModelError, ["ReduceSum node 'total'", "noop_with_empty_axes=2; supported: 0, 1"]),
    "flag of -1": (lambda p: LOOKS_BACK, ModelError, ["Attention node 'heads'", "unidirectional=-1; supported: 0, 1"]),
    "TensorFlow Lite": (lambda p: file_of(p, "a.tflite", b"\x1c\0\0\0TFL3"), ModelError, ["Lite", "SavedModel"]),
    "format of ONNX Runtime": (lambda p: file_of(p, "a.ort", b"\x24\0\0\0ORTM"), ModelError, ["own format"]),
    "safetensors": (lambda p: file_of(p, "a.bin", b"\x40" + b"\0" * 7 + b'{"w":'), ModelError, ["weights alone"]),
    "XML": (lambda p: file_of(p, "a.xml", b'<?xml version="1.0"?><net>'), ModelError, ["XML", "ONNX file"]),
    "ONNX as JSON": (lambda p: file_of(p, "a.json", b'{"irVersion": 8}'), ModelError, ["format='json'"]),
    "ONNX as protobuf's text": (lambda p: file_of(p, "a", b"ir_version: 8"), ModelError, ["format='textproto'"]),
    "ONNX as text": (lambda p: file_of(p, "a.onnxtxt", b"<ir_version: 8>"), ModelError, ["format='onnxtxt'"]),
    "a part of a SavedModel": (
        lambda p: file_of(p, "saved_model.pb", b"\x08\x01"), ModelError, ["saved_model.pb", "SavedModel", "folder"]
    ),
    "a session": (lambda p: InferenceSession(), ModelError, ["InferenceSession", "the file that it was made of"]),
    "an open file": (lambda p: io.StringIO(), ModelError, ["StringIO", "the path of an open file", "read()"]),
    "damaged bytes": (lambda p: DAMAGED, ModelError, ["the given bytes", "damaged"]),
    "weights not beside": (without_weights_file, ModelError, ["external.bin", "not beside the model"]),
    "a number": (lambda p: 42, ModelError, ["int", "expected a path"]),
    "a model that trains": (lambda p: TRAINS, ModelError, ["BatchNormalization", "as in training", "module.eval()"]),
    "unknown op": (lambda p: UNKNOWN_OP, ModelError, ["not valid ONNX", "Nonsense"]),
    "wrong types inside": (lambda p: WRONG_TYPES, ModelError, ["not valid ONNX", "Gemm"]),
    "output without a name": (lambda p: UNNAMED, ModelError, ["Split node 'halves'", "['y', '']", "give each a name"]),
    "cast to no type": (lambda p: CAST_TO_NONE, ModelError, ["not valid ONNX", "type 0"]),
    "opset 6": (lambda p: mlp_with(opset=6), ModelError, ["opset 6", "7 to", "Export"]),
    "opset of the future": (lambda p: mlp_with(opset=999), ModelError, ["opset 999", "7 to", "Export"]),
    "IR of the future": (lambda p: mlp_with(ir_version=99), ModelError, ["IR version 99", "up to", "Export"]),
    "two outputs": (lambda p: two_outputs(), ModelError, ["2 float outputs ['y', 'z']", "output=<name>"]),
    "no float output": (lambda p: CLASSES_ONLY, ModelError, ["['y']", "float", "output_layer"]),
    "integer input": (lambda p: TOKENS.model, ModelError, ["tokens (INT64)", "wrt=", "embedded"]),
    "input without a shape": (lambda p: SHAPELESS, ModelError, ["axes of the input 'x'", "make_tensor_value_info"]),
    "other input without one": (lambda p: BESIDE, ModelError, ["axes of the input 'z'", "make_tensor_value_info"]),
    "output without a shape": (lambda p: RESHAPED, ModelError, ["axes of the value 'y'", "Reshape node", "Declare"]),
    "damaged layer table": (lambda p: mlp_with(layers="{"), ModelError, ["onnxattr.layers", "convert the model again"]),
    "damaged layer views": (lambda p: mlp_with(views="{"), ModelError, ["layer_views", "convert the model again"]),
}  # fmt: skip


def check(error, expected, fragments):
    assert type(error.value) is expected
    assert isinstance(error.value, OnnxAttrError)
    message = str(error.value)
    assert [fragment for fragment in fragments if fragment not in message] == [], message


@pytest.fixture
def nothing_runs(monkeypatch):
    def refuse(self, feeds):
        raise AssertionError("a session ran before the error")

    monkeypatch.setattr(Session, "run", refuse)


@pytest.mark.parametrize("case", MODELS)
def test_models(case, tmp_path, nothing_runs):
    source, expected, fragments = MODELS[case]
    with pytest.raises(OnnxAttrError) as error:
        attributions.Saliency(source(tmp_path))
    check(error, expected, fragments)


def test_axes_that_are_no_vector():
    with pytest.raises(ModelError, match=r"ONNX Runtime could not run the model.*ReduceMean"):
        attributions.Saliency(SCALAR_AXES).explain(np.ones((1, 4), np.float32), [0])


TABLE = mlp_with(layers=LAYERS)
WITHOUT_TABLE = mlp_with()
FOLDED = (
    "Layer 'scaling' is not in the converted model: folded into 'out'; convert with keep_layers=['scaling']"
)
PARAMETERS = {
    "steps 1": ("IntegratedGradients", {"steps": 1}, ParameterError, ["steps=1", "2"]),
    "steps 0": ("IntegratedGradients", {"steps": 0}, ParameterError, ["steps=0", "2"]),
    "steps 2.5": ("IntegratedGradients", {"steps": 2.5}, ParameterError, ["steps=2.5", "integer"]),
    "baseline NaN": ("IntegratedGradients", {"baseline_value": np.nan}, ParameterError, ["nan", "finite"]),
    "baseline text": ("IntegratedGradients", {"baseline_value": "0"}, ParameterError, ["'0'", "numbers"]),
    "ragged baseline": ("IntegratedGradients", {"baseline_value": [[0], 1]}, ParameterError, ["[[0], 1]", "numbers"]),
    "baseline shape": ("IntegratedGradients", {"baseline_value": np.ones(5)}, ParameterError, ["(5,)", "'x': (6,)"]),
    "baseline of a batch": (
        "IntegratedGradients", {"baseline_value": np.ones((3, 2, 6))}, ParameterError, ["(3, 2, 6)", "one sample"]
    ),
    "negative noise": ("SmoothGrad", {"noise": -0.1}, ParameterError, ["noise=-0.1", "not negative"]),
    "infinite noise": ("SquareGrad", {"noise": np.inf}, ParameterError, ["noise=inf", "finite"]),
    "noise text": ("VarGrad", {"noise": "0.2"}, ParameterError, ["'0.2'", "finite number"]),
    "no samples": ("SmoothGrad", {"nb_samples": 0}, ParameterError, ["nb_samples=0", "from 1 on"]),
    "one sample": ("VarGrad", {"nb_samples": 1}, ParameterError, ["nb_samples=1", "from 2 on"]),
    "half a sample": ("SquareGrad", {"nb_samples": 1.5}, ParameterError, ["nb_samples=1.5", "integer"]),
    "seed -1": ("SmoothGrad", {"seed": -1}, ParameterError, ["seed=-1", "0 to 2147483646"]),
    "large seed": ("SmoothGrad", {"seed": 2**31 - 1}, ParameterError, ["seed=2147483647", "0 to 2147483646"]),
    "seed None": ("SmoothGrad", {"seed": None}, ParameterError, ["seed=None", "integer"]),
    "seed 1.5": ("SmoothGrad", {"seed": 1.5}, ParameterError, ["seed=1.5", "integer"]),
    "unknown reducer": ("Saliency", {"reducer": "l3"}, ParameterError, ["'l3'", "'mean'"]),
    "unknown operator": ("Saliency", {"operator": "detection"}, ParameterError, ["'detection'", "'classification'"]),
    "operator function": ("Saliency", {"operator": sum}, OperatorError, ["sum", "operator(f, x, y)"]),
    "unknown option": ("Saliency", {"stepz": 3}, ParameterError, ["Saliency", "stepz", "providers"]),
    "another method's parameter": ("DeconvNet", {"steps": 3}, ParameterError, ["DeconvNet", "steps", "providers"]),
    "misspelt own parameter": ("IntegratedGradients", {"step": 3}, ParameterError, ["'step'", "steps", "seed"]),
    "batch_size 0": ("Saliency", {"batch_size": 0}, ParameterError, ["batch_size=0", "from 1 on"]),
    "batch_size 2.5": ("Saliency", {"batch_size": 2.5}, ParameterError, ["batch_size=2.5", "integer"]),
    "batch_size True": ("Saliency", {"batch_size": True}, ParameterError, ["batch_size=True", "integer"]),
    "unknown policy": ("DeconvNet", {"relu_policy": "some"}, ParameterError, ["'some'", "'all'"]),
    "policy without table": ("DeconvNet", {"relu_policy": "xplique"}, ModelError, ["layer table", "Convert", "'all'"]),
    "channel axis": ("Saliency", {"channel_axis": 4}, ParameterError, ["channel_axis=4", "1, 2 or 3"]),
    "channel axis text": ("Saliency", {"channel_axis": "last"}, ParameterError, ["'last'", "1, 2 or 3"]),
    "missing provider": ("Saliency", {"providers": ["TPUExecutionProvider"]}, RuntimeMissingError,
                         ["TPUExecutionProvider", "CPUExecutionProvider"]),
    "no provider": ("Saliency", {"providers": []}, ParameterError, ["providers=[]", "None"]),
    "provider text": ("Saliency", {"providers": "CPU"}, ParameterError, ["'CPU'", "sequence", "None"]),
    "provider number": ("Saliency", {"providers": [3]}, ParameterError, ["[3]", "names"]),
    "unknown wrt": ("Saliency", {"wrt": "pixels"}, ModelError, ["'pixels'", "['x']", "inspect"]),
    "empty wrt": ("Saliency", {"wrt": ()}, ParameterError, ["wrt=()", "name"]),
    "wrt fraction": ("Saliency", {"wrt": 0.5}, ParameterError, ["wrt=0.5", "name"]),
    "wrt index": ("Saliency", {"wrt": 3}, ModelError, ["wrt=3", "0 to 2"]),
    "wrt twice": ("Saliency", {"wrt": ("x", "x")}, ParameterError, ["('x', 'x')", "once"]),
    "wrt after the score": ("Saliency", {"wrt": "logits", "output_layer": "active"}, ModelError, ["logits", "inspect"]),
    "wrt is the score": ("Saliency", {"wrt": "logits"}, ModelError, ["'logits'", "explained output"]),
    "wrt beside the score": ("Saliency", {"wrt": "w1"}, ModelError, ["'w1'", "weight"]),
    "unknown layer": ("Saliency", {"output_layer": "lodgits"}, ModelError, ["'lodgits'", "hidden", "out", "inspect"]),
    "folded layer": ("Saliency", {"output_layer": "scaling"}, FoldedLayerError, [FOLDED]),
    "folded index": ("Saliency", {"output_layer": 1}, FoldedLayerError, [FOLDED]),
    "layer index": ("Saliency", {"output_layer": 3}, ModelError, ["output_layer=3", "0 to 2"]),
    "negative layer index": ("Saliency", {"output_layer": -4}, ModelError, ["output_layer=-4", "0 to 2"]),
    "ambiguous layer": ("Saliency", {"output_layer": "twin"}, ModelError, ["'twin'", "left/twin", "right/twin"]),
    "layer 1.5": ("Saliency", {"output_layer": 1.5}, ParameterError, ["output_layer=1.5", "name", "index"]),
}  # fmt: skip


@pytest.mark.parametrize("case", PARAMETERS)
def test_parameters(case, nothing_runs):
    method, options, expected, fragments = PARAMETERS[case]
    with pytest.raises(OnnxAttrError) as error:
        getattr(attributions, method)(WITHOUT_TABLE if "without table" in case else TABLE, **options)
    check(error, expected, fragments)


ELSEWHERE = {
    "layer index without table": (
        {"output_layer": -2}, MLP.model, ModelError, ["output_layer=-2", "no layer table", "name"]
    ),
    "integer value as layer": (
        {"output_layer": "i"}, ROUNDED, ModelError, ["'i'", "INT32", "only float"]
    ),
    "integer wrt": ({"wrt": "tokens"}, TOKENS.model, ModelError, ["'tokens'", "INT64", "embedded"]),
}  # fmt: skip


@pytest.mark.parametrize("case", ELSEWHERE)
def test_parameters_that_do_not_fit_the_model(case, nothing_runs):
    options, model, expected, fragments = ELSEWHERE[case]
    with pytest.raises(OnnxAttrError) as error:
        attributions.Saliency(model, **options)
    check(error, expected, fragments)


def spoilt(array, value):
    array = array.copy()
    array.flat[3] = value
    return array


class Row(list):
    """What is a row of a table in pandas, as far as it matters here."""

    def to_frame(self):
        raise NotImplementedError


TWO_GOOD = TWO.inputs
BYTES = build(
    [node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), node("Relu", ["f"], ["y"])],
    {"x": (["N", 4], TensorProto.UINT8)}, VECTORS[1],
)  # fmt: skip
SERIES = build(
    [node("Relu", ["x"], ["y"])],
    {"x": (["N", "W"], TensorProto.FLOAT)},
    {"y": (["N", "W"], TensorProto.FLOAT)},
)
INPUTS = {
    "wrong rank, a sample": (CNN, IMAGES[0], ["'image'", "(3, 8, 9)", "(N, 3, 8, 9)", "rank 4", "x[None]"]),
    "a sample as a list": (MLP, [*X[0].tolist()], ["(6,)", "Add the batch axis with [x]"]),
    "a row of a table": (MLP, Row(X[0]), ["(6,)", "series.to_frame().T", "frame.iloc[[i]]"]),
    "wrong rank": (CNN, X, ["(3, 6)", "(N, 3, 8, 9)", "rank 4"]),
    "channels last": (CNN, np.zeros((2, 8, 9, 3)), ["(2, 8, 9, 3)", "(N, 3, 8, 9)", "axis 1"]),
    "wrong channel count": (CNN, IMAGES[:, :1], ["(3, 1, 8, 9)", "(N, 3, 8, 9)", "axis 1"]),
    "NaN": (MLP, spoilt(X, np.nan), ["'x'", "1 NaN or infinite", "clean the data"]),
    "infinity": (MLP, spoilt(X, -np.inf), ["'x'", "1 NaN or infinite", "clean the data"]),
    "beyond float32": (MLP, spoilt(X.astype(np.float64), 1e300), ["'x'", "1 NaN or infinite"]),
    "empty batch": (MLP, X[:0], ["'x'", "empty batch", "(0, 6)", "at least one sample"]),
    "no values": (SERIES, np.zeros((2, 0), np.float32), ["'x'", "(2, 0)", "no value to explain"]),
    "text": (MLP, np.array([["a"] * 6]), ["'x'", "<U1", "expected numbers"]),
    "a file name": (MLP, "photo.png", ["photo.png", "there is no such file"]),
    "nothing": (MLP, None, ["'x'", "object", "None", "expected numbers"]),
    "an object among numbers": (MLP, np.array([[1, 2.5, 3, 4, 5, "a"]], object), ["'x'", "'a'", "expected numbers"]),
    "complex": (MLP, X.astype(complex), ["'x'", "complex128", "expected numbers"]),
    "ragged lists": (MLP, [[1.0] * 6, [1.0] * 5], ["'x'", "not an array"]),
    "unknown name": (MLP, {"pixels": X}, ["['x']", "missing: ['x']", "unknown: ['pixels']"]),
    "missing name": (TWO, {"image": TWO_GOOD["image"]}, ["missing: ['features']", "unknown: []"]),
    "one array for two inputs": (TWO, TWO_GOOD["image"], ["2 inputs", "'features'", "dict by name", "list"]),
    "one too many": (TWO, [*TWO_GOOD.values(), X], ["2 inputs", "dict by name", "list in that order"]),
    "order swapped": (TWO, [*TWO_GOOD.values()][::-1], ["'image'", "(3, 4)", "(N, 3, 6, 6)"]),
    "different rows": (
        TWO, TWO_GOOD | {"features": TWO_GOOD["features"][:2]}, ["samples", "'image': 3", "'features': 2"]
    ),
    "one row for all": (
        TWO, TWO_GOOD | {"features": TWO_GOOD["features"][:1]}, ["'features': 1", "share 'features'", "np.repeat"]
    ),
    "tokens 1.5": (TOKENS, spoilt(TOKENS.given.astype(float), 1.5), ["'tokens'", "float64", "int64", "1.5", "Round"]),
    "tokens NaN": (TOKENS, spoilt(TOKENS.given.astype(float), np.nan), ["'tokens'", "int64", "nan"]),
    "tokens infinite": (TOKENS, spoilt(TOKENS.given.astype(float), np.inf), ["'tokens'", "int64", "inf"]),
    "beyond uint8": (BYTES, np.full((2, 4), 300), ["'x'", "int64", "uint8", "300"]),
    "wrong number of tokens": (TOKENS, TOKENS.given[:, :4], ["'tokens'", "(3, 4)", "(N, 7)"]),
    "no batch in a stream": (MLP, iter([]), ["no batch", "at least one sample"]),
    "wrong rank in a stream": (MLP, iter([IMAGES]), ["'x'", "(3, 3, 8, 9)", "(N, 6)"]),
    "stream of different samples": (MLP, iter([X[0], X[0, :5]]), ["different", "(5,)", "(6,)"]),
}  # fmt: skip


@pytest.mark.parametrize("case", INPUTS)
def test_inputs(case, nothing_runs):
    model, given, fragments = INPUTS[case]
    inner = "embedded" if model is TOKENS else "f" if model is BYTES else None
    method = attributions.Saliency(getattr(model, "model", model), wrt=inner)
    with pytest.raises(OnnxAttrError) as error:
        method.explain(given)
    check(error, ShapeError, fragments)


ANY_CLASSES = build(
    [node("Mul", ["x", "x"], ["s"]), node("Mul", ["s", "x"], ["y"])], {"x": ["N", "C"]}, {"y": ["N", "C"]}
)
ANY_SIZE = build(
    [node("Relu", ["x"], ["r"]), node("GlobalAveragePool", ["r"], ["g"]), node("Flatten", ["g"], ["y"])],
    {"x": ["N", 3, "H", "W"]}, {"y": ["N", 3]},
)  # fmt: skip


def test_batches_of_different_sizes_in_a_stream():
    """Each can be explained, but their maps make no one array; how many there are only the end of the stream shows."""
    method = attributions.Saliency(ANY_SIZE)
    batches = [rows(1, 3, 5, 5), rows(2, 3, 6, 4)]
    assert [method.explain(batch).shape[2:] for batch in batches] == [(5, 5), (6, 4)]
    with pytest.raises(ShapeError, match=r"\(1, 5, 5\), \(1, 6, 4\).*by itself"):
        method.explain(iter(batches))


TARGETS = {
    "label too large": ([0, 1, 4], ["Label 4", "0 to 3"]),
    "label too small": ([0, 1, -2], ["Label -2", "0 to 3", "-1 for the predicted"]),
    "too few labels": ([0, 1], ["2 labels", "3 samples"]),
    "one label for all, out of range": (4, ["Label 4", "from 0 to 3"]),
    "labels as floats": ([0.0, 1.0, 2.0], ["(3,)", "(3, 4)", "integer labels", "np.ravel(targets).astype(int)"]),
    "labels as a column": ([[0], [1], [2]], ["(3, 1)", "integer labels", "np.ravel(targets).astype(int)"]),
    "no label": ([0, None, 2], ["None", "expected numbers"]),
    "wrong class count": (np.eye(5)[:3], ["(3, 5)", "(3, 4)", "Targets are not broadcast"]),
    "one column for four classes": (np.ones((3, 1)), ["(3, 1)", "(3, 4)", "Targets are not broadcast"]),
    "no batch axis": (np.array([1.0, 0, 0, 0]), ["(4,)", "(3, 4)"]),
    "too few rows": (np.eye(4)[:2], ["(2, 4)", "(3, 4)"]),
    "one row for three": (np.eye(4)[:1], ["(1, 4)", "(3, 4)", "Targets are not broadcast"]),
    "NaN": (np.full((3, 4), np.nan), ["targets", "NaN or infinite", "finite"]),
    "infinity": (np.full((3, 4), np.inf), ["targets", "NaN or infinite", "finite"]),
    "text": (["happy", "sad", "angry"], ["'happy'", "no names of classes", "onnxattr.labels"]),
    "ragged": ([[1, 0, 0, 0], [1], [1]], ["targets", "not an array"]),
}  # fmt: skip


@pytest.mark.parametrize("method", ["Saliency", "IntegratedGradients"])
@pytest.mark.parametrize("case", TARGETS)
def test_targets(case, method, nothing_runs):
    given, fragments = TARGETS[case]
    with pytest.raises(OnnxAttrError) as error:
        explained(targets=given, method=method)
    check(error, TargetError, fragments)


def test_targets_beside_a_dataset(nothing_runs):
    with pytest.raises(TargetError, match=r"come from the dataset: give an iterable of \(inputs, targets\)"):
        explained(inputs=iter([X]), targets=[0, 1, 2])


def test_output_of_rank_3_needs_targets(nothing_runs):
    with pytest.raises(TargetError, match=r"rank 3.*weights of shape \(3, 2, 5\)"):
        explained(elementwise([2, 5]), rows(1, 2, 5))


@pytest.mark.parametrize("method", ["Saliency", "IntegratedGradients", "VarGrad"])
def test_label_beyond_a_class_count_that_only_the_prediction_shows(method):
    with pytest.raises(TargetError, match=r"Label 6 .*0 to 5"):
        explained(ANY_CLASSES, X, [0, 5, 6], method)
    assert explained(ANY_CLASSES, X, [0, 5, -1], method).shape == (3, 6)


def test_unknown_domain_is_an_unsupported_operator(nothing_runs):
    with pytest.raises(UnsupportedOpError, match=r"com\.example::Fancy.*fancy"):
        attributions.Saliency(UNKNOWN_DOMAIN).explain(rows(1, 4))


@pytest.mark.parametrize("method", ON_ANY_MODEL)
@pytest.mark.filterwarnings("ignore:.*overrides ReLUs:UserWarning")
def test_integer_inputs_are_explained_at_the_float_value_that_the_error_names(method):
    needed = NEEDED.get(method, {})
    with pytest.raises(ModelError) as error:
        getattr(attributions, method)(TOKENS.model, **needed)
    name = str(error.value).split("one of: ")[1].split(",")[0].rstrip(".")
    maps = getattr(attributions, method)(TOKENS.model, wrt=name, **needed).explain(TOKENS.given, [0, 1, 2])
    assert maps.shape == (3, 7, 5)
    assert np.abs(maps).max() > 0


def test_gradient_of_an_embedding_is_that_of_the_numbers_it_looks_up():
    table, weights = (onnx.numpy_helper.to_array(TOKENS.model.graph.initializer[i]) for i in (0, 2))
    looked_up = table[TOKENS.given]
    expected = (1 - np.tanh(looked_up) ** 2) * weights[:, [0, 1, 2]].T[:, None] / 7
    maps = attributions.GradientInput(TOKENS.model, wrt="embedded").explain(TOKENS.given, [0, 1, 2])
    np.testing.assert_allclose(maps, looked_up * expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("action", ["explain", "predict"])
def test_what_only_the_runtime_can_refuse_is_our_error_too(action):
    method = attributions.Saliency(TOKENS.model, wrt="embedded")
    with pytest.raises(ModelError, match=r"ONNX Runtime could not run .*out of.*bounds"):
        getattr(method, action)(np.full((2, 7), 99))


def test_damaged_keras_file_names_the_file(tmp_path, nothing_runs):
    pytest.importorskip("keras")
    with pytest.raises(ConversionError, match=r"broken\.keras"):
        attributions.Saliency(file_of(tmp_path, "broken.keras", b"PK\x03\x04 not a zip"))


@pytest.mark.parametrize(
    ("raised", "expected", "words"),
    [
        (ValueError("odd"), UnforeseenError, "ValueError: odd.*export it again.*defect of onnxattr"),
        (KeyError("name"), UnforeseenError, "KeyError: 'name'"),
        (MemoryError(), ModelError, "more memory than there is"),
        (RecursionError(), ModelError, "nested too deeply"),
        (ShapeError("a shape"), ShapeError, "^a shape$"),
    ],
)
def test_what_anything_raises_on_a_model_leaves_by_one_door(raised, expected, words):
    """Here a rule of the caller's raises; what it raised is the cause."""

    def rule(op, node, cotangent):
        raise raised

    with pytest.raises(OnnxAttrError, match=words) as error:
        onnxattr.vjp(build([node("Tanh", ["x"], ["y"])], *VECTORS), rules=STANDARD | {"Tanh": rule})
    assert type(error.value) is expected
    assert error.value is raised or error.value.__cause__ is raised


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_the_end_of_a_program_is_no_error_of_a_model(end):
    def rule(op, node, cotangent):
        raise end

    with pytest.raises(end):
        onnxattr.vjp(build([node("Tanh", ["x"], ["y"])], *VECTORS), rules=STANDARD | {"Tanh": rule})
