"""What ``onnxattr inspect`` says is true of the model, and the command that it tells works as it stands."""

import json
import re
import shlex

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto
from PIL import Image
from support.small_models import build, cnn_nhwc, embedding, mlp, node, random, two_inputs
from support.tiny_graphs import parse

from models import digits, gunpoint, tabular
from onnxattr import GradientInput
from onnxattr.cli import main
from onnxattr.inspection import facts, inspect, inspect_json
from onnxattr.loading.landmarks import embeddings
from onnxattr.loading.prepared import prepare
from onnxattr.loading.preprocessing.spec import KEY, Preprocessing

INT64 = TensorProto.INT64


IDS = ("token_type_ids", "attention_mask", "position_ids", "input_ids")


def words():
    """Ids of words, kinds, a mask and positions, whose table is larger than that of the words."""
    nodes = [
        node("Gather", ["kind_table", "token_type_ids"], ["kinds"]),
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Gather", ["place_table", "position_ids"], ["placed"]),
        node("Gather", ["word_table", "input_ids"], ["words"]), node("Add", ["words", "kinds"], ["sum"]),
        node("Add", ["sum", "placed"], ["embedded"]), node("Unsqueeze", ["mask", "last"], ["mask3"]),
        node("Mul", ["embedded", "mask3"], ["masked"]), node("Tanh", ["masked"], ["squashed"]),
        node("ReduceMean", ["squashed", "axis"], ["mean"], keepdims=0), node("MatMul", ["mean", "w"], ["logits"]),
    ]  # fmt: skip
    tables = {
        "kind_table": random(0, 2, 6),
        "place_table": random(1, 300, 6),
        "word_table": random(2, 100, 6),
    }
    others = {"axis": np.array([1]), "last": np.array([2]), "w": random(3, 6, 3)}
    inputs = {name: (["N", "T"], INT64) for name in IDS}
    return build(nodes, inputs, {"logits": ["N", 3]}, tables | others)


def test_words_come_first_however_large_other_tables_are():
    found = facts(words())["embeddings"]
    assert [(one["name"], one["rows"], one["ids"], one["words"]) for one in found] == [
        ("words", 100, "input_ids", True),
        ("placed", 300, "position_ids", False),
        ("kinds", 2, "token_type_ids", False),
    ]
    assert "beside the inputs\n  the words: --wrt words  (N, T" in inspect(words())
    assert prepare(words(), wrt=embeddings).asked == ("words", "placed", "kinds")


def test_names_to_type_are_quoted():
    """A shell would run what is in $()."""
    nodes = [
        node("Gather", ["table", "ids"], ["$(ls)"]),
        node("ReduceSum", ["$(ls)", "axis"], ["y"], keepdims=0),
    ]
    weights = {"table": random(0, 100, 3), "axis": np.array([1])}
    said = inspect(build(nodes, {"ids": (["N", 5], INT64)}, {"y": ["N", 3]}, weights))
    assert "the words: --wrt '$(ls)'  (N, 5, 3)" in said
    assert "ids.npy --wrt '$(ls)' -o" in said


def test_words_come_first_after_the_optimiser(tmp_path):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "o.onnx")
    ort.InferenceSession(words().SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert facts(tmp_path / "o.onnx")["embeddings"][0]["name"] == "words"


def test_words_of_a_quantised_table_that_are_laid_out_before_they_are_floats():
    """ONNX Runtime's quantiser leaves a Transpose among the integers, as in front of an LSTM."""
    model = parse("""g (int64[N,T] input) => (float[T,N,2] y)
        <uint8[3,2] table = {1,2,3,4,5,6}, float s = {0.5}, uint8 z = {2}> {
        rows = Gather(table, input)
        turned = Transpose<perm=[1,0,2]>(rows)
        words = DequantizeLinear(turned, s, z)
        y = Tanh(words) }""")
    (found,) = facts(model)["embeddings"]
    assert (found["name"], found["rows"], found["ids"]) == ("words", 3, "input")


def ids_and_floats():
    nodes = [node("Gather", ["table", "ids"], ["e"]), node("Flatten", ["e"], ["flat"])]
    nodes += [node("Concat", ["flat", "x"], ["all"], axis=1), node("MatMul", ["all", "w"], ["y"])]
    inputs = {"x": ["N", 2], "ids": (["N", 4], INT64)}
    return build(nodes, inputs, {"y": ["N", 3]}, {"table": random(0, 9, 5), "w": random(1, 22, 3)})


SMALL = {
    "table": (mlp().model, {"x": np.ones((2, 6), np.float32)}),
    "probabilities": (mlp(head="Softmax").model, None),
    "images": (cnn_nhwc().model, None),
    "ids": (embedding().model, None),
    "several inputs": (two_inputs().model, None),
    "words": (
        words(),
        {n: np.ones((2, 5), np.int64) for n in IDS},
    ),
    "floats and ids": (
        ids_and_floats(),
        {"x": np.ones((2, 2), np.float32), "ids": np.ones((2, 4), np.int64)},
    ),
    "digits": (onnx.load(digits.ONNX_FILE), None),
    "series": (onnx.load(gunpoint.ONNX_FILE), None),
    "tumours": (onnx.load(tabular.ONNX_FILE), None),
}


def feeds_of(found, given):
    """Two samples for each input."""
    if given is not None:
        return given
    rng = np.random.default_rng(0)
    feeds = {}
    for one in found["inputs"]:
        shape = [2 if not axis else dim for axis, dim in enumerate(one["shape"])]
        feeds[one["name"]] = (
            np.ones(shape, np.int64) if "int" in one["type"] else rng.random(shape, np.float32)
        )
    return feeds


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", SMALL)
def test_the_command_works_as_it_stands(name, tmp_path, monkeypatch, capsys):
    """Also for the explainer that the same options export."""
    monkeypatch.chdir(tmp_path)
    model, given = SMALL[name]
    onnx.save(model, "a model.onnx")
    found = facts("a model.onnx")
    command, file = shlex.split(found["command"]), shlex.split(found["command"])[3]
    feeds = feeds_of(found, given)
    np.savez(file, **feeds) if file.endswith(".npz") else np.save(file, next(iter(feeds.values())))
    assert command[:3] == ["onnxattr", "explain", "a model.onnx"]
    assert main(command[1:]) == 0, capsys.readouterr().err
    assert f"Try\n  {found['command']}\n    {file}: " in inspect("a model.onnx")
    options = command[4 : command.index("-o")]
    assert main(["export", "a model.onnx", *options, "-o", "e.onnx"]) == 0
    explainer = facts("e.onnx")
    assert explainer["samples"] == found["samples"]
    assert main(shlex.split(explainer["command"])[1:]) == 0, capsys.readouterr().err


def test_facts_of_an_image_model(capsys):
    assert main(["inspect", str(digits.ONNX_FILE), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (image,), (output,) = found["inputs"], found["outputs"]
    assert image == {
        "name": "image", "type": "float", "shape": ["N", 28, 28, 1], "kind": "image", "layout": "NHWC", "height": 28,
        "width": 28, "channels": 1,
    }  # fmt: skip
    assert (output["kind"], output["logits"]) == ("probabilities", "logits")
    assert (found["batch"], found["explained"], found["without_rule"]) == ("free", ["image"], [])
    assert found["last_convolution"]["shape"] == ["N", 14, 14, 32]
    assert found["cost"]["how"] == "estimated"
    text = inspect(digits.ONNX_FILE)
    assert "image of 28 x 28 pixels, grey, NHWC" in text
    assert "Operators" not in text
    assert "Operators" in inspect(digits.ONNX_FILE, verbose=True)


def test_the_keys_are_those_of_the_docs():
    documented = (digits.ONNX_FILE.parents[1] / "docs" / "inspect.md").read_text().split("| key |")[1]
    keys = {key for line in documented.splitlines()[2:] for key in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert keys == json.loads(inspect_json(digits.ONNX_FILE, runtime="openvino")).keys()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_cost():
    """Multiplications of a chain of products are counted; what is measured is the time of a gradient."""
    nodes = [node("MatMul", ["x", "a"], ["h"]), node("MatMul", ["h", "b"], ["y"])]
    model = build(
        nodes, {"x": ["N", 100]}, {"y": ["N", 50]}, {"a": random(0, 100, 200), "b": random(1, 200, 50)}
    )
    cost = facts(model)["cost"]
    assert cost["multiplications"] == 100 * 200 + 200 * 50
    assert (cost["gradient_in_predictions"], cost["how"]) == (2.4, "estimated")
    assert cost["memory_bytes"] == 4 * (200 + 50)
    assert cost["weights_bytes"] == 4 * (100 * 200 + 200 * 50)
    measured = facts(model, measured=True)["cost"]
    assert measured["how"] == "measured"
    assert measured["gradient_seconds"] > 0
    assert measured["memory_bytes"] == cost["memory_bytes"]
    assert "ms for a prediction" in inspect(model, measured=True)


BATCHES = {
    "free": (["N", 3], "free", "any number in a call"),
    "one": ([1, 3], "free", "any number in a call"),
    "fixed": ([4, 3], "free", "any number in a call"),
}


@pytest.mark.parametrize("case", BATCHES)
def test_batch(case):
    shape, batch, says = BATCHES[case]
    model = build([node("Tanh", ["x"], ["y"])], {"x": shape}, {"y": shape})
    found = facts(model)
    x = np.ones((2, 3), np.float32)
    assert GradientInput(model).explain(x).shape == (2, 3)
    if found["samples"]["kind"] != "single":
        assert found["batch"] == batch
        assert says in inspect(model)


def test_a_model_that_takes_photos(tmp_path, monkeypatch, capsys):
    """What its file expects, what it holds, and commands with a photo for the model and its explainer."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)).save("photo.jpg")
    model = cnn_nhwc().model
    spec = Preprocessing("image", resize="stretch", size=(8, 9), scale=1 / 255)
    onnx.helper.set_model_props(model, {KEY: spec.text()})
    onnx.save(model, "m.onnx")
    assert main(["export", "m.onnx", "--preprocess", "model", "-o", "e.onnx"]) == 0
    for name, place in (("m.onnx", "expected, not in the file"), ("e.onnx", "in the file")):
        capsys.readouterr()
        taken = ort.InferenceSession(name).get_inputs()[0].type  # as "tensor(uint8)"
        assert facts(name)["inputs"][0]["type"] == taken.removeprefix("tensor(").removesuffix(")")
        command = facts(name)["command"]
        assert command == f"onnxattr explain {name} photo.jpg"
        assert f"Preprocessing of photos ({place}" in inspect(name)
        assert main(shlex.split(command)[1:]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "wrote photo.why.png"
    assert main(["export", "m.onnx", "-o", "plain.onnx"]) == 0
    assert main(["explain", "plain.onnx", "photo.jpg"]) == 2
    assert "--preprocess model" in capsys.readouterr().err


def _body(*nodes, inputs, outputs):
    """A body of some nodes; shapes by name, of booleans for ``go`` and integers for ``step``."""
    kinds = {"go": onnx.TensorProto.BOOL, "go2": onnx.TensorProto.BOOL, "step": onnx.TensorProto.INT64}

    def values(given):
        return [onnx.helper.make_tensor_value_info(n, kinds.get(n, 1), shape) for n, shape in given.items()]

    return onnx.helper.make_graph(list(nodes), "body", values(inputs), values(outputs))


def _repeated(kind, steps, trips="given"):
    """h = tanh(h @ w) some times over, as a Loop, a Scan or an If around it, or node by node."""
    product = [node("MatMul", ["h", "w"], ["p"]), node("Tanh", ["p"], ["h2"])]
    weights, inputs = {"w": random(1, 64, 64), "n": np.array(steps), "yes": np.array(True)}, {"x": ["N", 64]}
    if kind == "nodes":
        nodes, last = [], "x"
        for step in range(steps):
            nodes += [node("MatMul", [last, "w"], [f"p{step}"]), node("Tanh", [f"p{step}"], [f"h{step}"])]
            last = f"h{step}"
        nodes += [node("Identity", [last], ["y"])]
    elif kind == "Loop":
        ends = [node("Identity", ["go"], ["go2"])]
        if trips != "given":
            ends = [node("ReduceMax", ["h2"], ["most"], keepdims=0), node("Less", ["most", "limit"], ["go2"])]
            weights["limit"] = np.array(0.9, np.float32)
        body = _body(
            *product,
            *ends,
            inputs={"step": [], "go": [], "h": ["N", 64]},
            outputs={"go2": [], "h2": ["N", 64]},
        )
        nodes = [node("Loop", ["n", "yes", "x"], ["y"], body=body)]
    elif kind == "Scan":
        body = _body(
            node("Add", ["h", "slice"], ["a"]), node("MatMul", ["a", "w"], ["p"]), node("Tanh", ["p"], ["h2"]),
            inputs={"h": [64], "slice": [64]}, outputs={"h2": [64]},
        )  # fmt: skip
        weights |= {"start": np.zeros(64, np.float32)}
        nodes = [node("Scan", ["start", "x"], ["y"], body=body, num_scan_inputs=1)]
        return build(nodes, {"x": [steps, 64]}, {"y": [64]}, weights)
    else:
        dear = _body(
            node("MatMul", ["x", "w"], ["q"]),
            node("MatMul", ["q", "w"], ["y1"]),
            inputs={},
            outputs={"y1": ["N", 64]},
        )
        cheap = _body(node("Tanh", ["x"], ["y2"]), inputs={}, outputs={"y2": ["N", 64]})
        nodes = [node("If", ["which"], ["y"], then_branch=dear, else_branch=cheap)]
        inputs["which"] = ([], onnx.TensorProto.BOOL)
    return build(nodes, inputs, {"y": ["N", 64]}, weights)


@pytest.mark.parametrize("steps", [1, 7])
def test_cost_of_loops(steps):
    """A Loop of known length costs what its nodes cost one after the other, and on the way back each step once more."""
    plain, loop = (facts(_repeated(kind, steps))["cost"] for kind in ("nodes", "Loop"))
    one = 64 * 64 + 12 * 64
    assert plain["multiplications"] == steps * one + 12 * 64  # an Identity at the end
    assert loop["multiplications"] == steps * (one + 12)  # an Identity of the condition in each step
    back = 64 * 64 + 24 * 64
    assert loop["gradient_in_predictions"] == round(1 + 1.4 * (one + 12 + back) / (one + 12), 1)
    assert loop["gradient_in_predictions"] > plain["gradient_in_predictions"]
    assert loop["memory_bytes"] >= 4 * 64 * steps


def test_cost_of_scans_and_branches():
    scan = facts(_repeated("Scan", 5))["cost"]
    assert scan["how"] == "estimated"
    assert scan["multiplications"] == 5 * (64 * 64 + 4 * 12 * 64)  # a vector gets an axis and loses it
    branch = facts(_repeated("If", 1))["cost"]
    assert branch["multiplications"] == 2 * 64 * 64  # the dearer one


def test_cost_of_a_loop_in_a_loop():
    inner = _body(
        node("MatMul", ["k", "w"], ["k2"]), node("Identity", ["go"], ["go2"]),
        inputs={"step": [], "go": [], "k": ["N", 64]}, outputs={"go2": [], "k2": ["N", 64]},
    )  # fmt: skip
    outer = _body(
        node("Loop", ["three", "yes", "h"], ["h2"], body=inner), node("Identity", ["go"], ["go2"]),
        inputs={"step": [], "go": [], "h": ["N", 64]}, outputs={"go2": [], "h2": ["N", 64]},
    )  # fmt: skip
    weights = {"w": random(1, 64, 64), "n": np.array(4), "three": np.array(3), "yes": np.array(True)}
    model = build(
        [node("Loop", ["n", "yes", "x"], ["y"], body=outer)], {"x": ["N", 64]}, {"y": ["N", 64]}, weights
    )
    assert facts(model)["cost"]["multiplications"] == 4 * (3 * (64 * 64 + 12) + 12)


def test_cost_of_loops_of_unknown_length(tmp_path):
    onnx.save(_repeated("Loop", 5, "open"), tmp_path / "open.onnx")
    cost = facts(tmp_path / "open.onnx")["cost"]
    assert cost["how"] == "unknown"
    assert "a run alone decides how many steps the Loop" in cost["why"]
    told = inspect(tmp_path / "open.onnx")
    assert "  unknown: a run alone decides how many steps the Loop" in told
    measured = facts(tmp_path / "open.onnx", measured=True)["cost"]
    assert measured["how"] == "measured"
    assert measured["gradient_seconds"] > 0
    assert "Cost (measured)" in inspect(tmp_path / "open.onnx", measured=True)


def test_an_unknown_rank_is_no_scalar():
    told = inspect(parse("m (float[] x) => (float[] y) { y = Tanh(x) }"))
    for line in ("  x: float (?)", "  y: float (?)", "    rows.npy: float32 (?)"):
        assert line in told.splitlines()
