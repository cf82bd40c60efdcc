"""Bad input gives one clear error: what was given, what was expected, what to do; before any session runs."""

import gzip
import io
import pickle

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.methods import NEEDED, ON_ANY_MODEL
from support.refusals import MLP, TOKENS, VECTORS, check, mlp_with
from support.small_models import build, node, rows
from support.tiny_graphs import parse

import onnxattr
import onnxattr.attributions as attributions
from onnxattr.autodiff.standard import STANDARD
from onnxattr.errors import (
    ConversionError,
    ModelError,
    OnnxAttrError,
    ShapeError,
    UnforeseenError,
    UnsupportedOpError,
)


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

NEWER = "g (float[N, 4] x) => (float[N, 4] y) {{ y = {}(x) }}"
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
    "newer op": (lambda p: parse(NEWER.format("Swish")), ModelError, ["not valid ONNX", "Swish from opset 24 on"]),
    "newer attribute": (
        lambda p: parse(NEWER.format('Gelu <approximate = "tanh">')), ModelError, ["opset 18", "Gelu from opset 20 on"]
    ),
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


@pytest.mark.parametrize("case", MODELS)
def test_models(case, tmp_path, nothing_runs):
    source, expected, fragments = MODELS[case]
    with pytest.raises(OnnxAttrError) as error:
        attributions.Saliency(source(tmp_path))
    check(error, expected, fragments)


def test_axes_that_are_no_vector():
    with pytest.raises(ModelError, match=r"ONNX Runtime could not run the model.*ReduceMean"):
        attributions.Saliency(SCALAR_AXES).explain(np.ones((1, 4), np.float32), [0])


def test_a_loop_of_no_step_is_said_where_the_runtime_speaks_of_its_insides():
    body = "body = b (int64 i, bool c) => (bool d, float[?, 4] e) { d = Identity(c) e = Mul(x, x) }"
    model = parse(
        f"""g (float[N, 4] x) => (float[?, ?] y) <int64 n = {{0}}, bool t = {{1}}, int64[1] z = {{0}}>
        {{ o = Loop <{body}> (n, t) s = ReduceSum <keepdims = 0> (o, z) y = Add(s, x) }}"""
    )
    with pytest.raises(ModelError, match=r"(?s)Add node.* is empty: where a Loop takes no step"):
        attributions.Saliency(model, verify=False).explain(rows(2, 4), rows(2, 4))


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
