"""Units, sampling rates, words and kinds of outputs: said once, checked, kept in files, shown in results."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from support.small_models import build, node, random

import onnxattr
from onnxattr import Explanation, GradientInput, IntegratedGradients
from onnxattr.cli import main
from onnxattr.errors import ModelError, ParameterError
from onnxattr.inspection import inspect
from onnxattr.loading.meaning.inputs_outputs import InputMeaning, OutputMeaning
from onnxattr.loading.meaning.vocabularies import KEY, read_vocabularies, vocabulary_of

WORDS = ["[PAD]", "a", "good", "bad", "film"]
IDS = np.array([[1, 2, 4, 0], [1, 3, 4, 6]])


def texts():
    """An embedding of 7 rows, whose mean is scored."""
    nodes = [node("Gather", ["table", "ids"], ["embedded"]), node("Tanh", ["embedded"], ["t"])]
    nodes += [node("ReduceMean", ["t", "axes"], ["mean"], keepdims=0), node("MatMul", ["mean", "w"], ["y"])]
    weights = {"table": random(1, 7, 3), "w": random(2, 3, 2), "axes": np.array([1])}
    return build(nodes, {"ids": (["N", "T"], onnx.TensorProto.INT64)}, {"y": ["N", 2]}, weights)


def series(*shape):
    nodes = [node("Flatten", ["ecg"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    return build(nodes, {"ecg": ["N", *shape]}, {"y": ["N", 1]}, {"w": random(1, int(np.prod(shape)), 1)})


VOCABULARIES = {
    "list": WORDS,
    "array": np.array(WORDS),
    "ids by word": {word: index for index, word in enumerate(WORDS)},
    "text": "\n".join(WORDS) + "\n",
    "vocab.json": json.dumps({word: index for index, word in enumerate(WORDS)}),
    "list.json": json.dumps(WORDS),
    "tokenizer.json": json.dumps(
        {
            "model": {"type": "BPE", "vocab": {"a": 1, "good": 2, "bad": 3}},
            "added_tokens": [{"id": 0, "content": "[PAD]"}, {"id": 4, "content": "film"}],
        }
    ),
    "unigram.json": json.dumps({"model": {"type": "Unigram", "vocab": [[word, -1.5] for word in WORDS]}}),
}


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_vocabularies(kind, tmp_path):
    given = VOCABULARIES[kind]
    if isinstance(given, str):
        path = tmp_path / (kind if "." in kind else "vocab.txt")
        path.write_text(given)
        given = path
    assert vocabulary_of(given) == tuple(WORDS)
    method = GradientInput(texts(), wrt="embedded", vocabulary=given)
    assert method.prepared.vocabularies == {"ids": tuple(WORDS)}
    assert method(IDS).tokens == (("a", "good", "film", "[PAD]"), ("a", "bad", "film", "6"))


def test_ids_without_words_have_numbers():
    assert vocabulary_of({"b": 2, "a": 0}) == ("a", "[unused1]", "b")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (3, "holds no words"),
        ([], "holds no words"),
        ("words", "expected a list of words"),
        (["a", 3], "3, which is no word"),
        ({"a": -1}, "expected ids by word"),
        ("missing.txt", "cannot be read"),
        ("damaged.json", "its model has no vocab"),
        ("pieces.json", "its vocab holds ['a'], which is no word"),
        ("token.json", "the token 1 has no text"),
        ("tokens.json", "its added_tokens are int"),
        ({"a": 2**26 - 1}, "the largest id is 67108863, of 1 in all; expected ids below 1048576"),
        (["w"] * 8, "8 words were given, and the table that the input 'ids' is looked up in has 7 rows"),
        ({"other": WORDS}, "no 'other' of that kind; it has 'ids'"),
    ],
)
def test_wrong_vocabularies_are_refused(given, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("damaged.json").write_text('{"model": {"vocab": 3}}')
    Path("pieces.json").write_text('{"model": {"vocab": [[["a"], 1]]}}')
    Path("token.json").write_text('{"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 1}]}')
    Path("tokens.json").write_text('{"model": {"vocab": {"a": 0}}, "added_tokens": 7}')
    with pytest.raises(ParameterError) as refusal:
        GradientInput(texts(), wrt="embedded", vocabulary=given)
    assert says in str(refusal.value)


def test_words_in_every_result(tmp_path, monkeypatch, capsys):
    """In the file once, shown by inspect, in JSON, HTML and the picture, from the method and from the explainer."""
    monkeypatch.chdir(tmp_path)
    onnx.save(texts(), "model.onnx")
    np.save("ids.npy", IDS)
    Path("vocab.txt").write_text("\n".join(WORDS))
    command = ["export", "model.onnx", "--wrt", "embedded", "--steps", "3", "--vocabulary", "vocab.txt"]
    assert main([*command, "-o", "e.onnx"]) == 0
    entries = {entry.key: entry.value for entry in onnx.load("e.onnx").metadata_props}
    assert sum("film" in text for text in entries.values()) == 1
    assert read_vocabularies(entries) == {"ids": tuple(WORDS)}
    told = onnxattr.load("e.onnx")
    assert told.meaning.inputs["ids"] == InputMeaning("tokens", vocabulary="vocab.txt")
    assert "tokens, 5 words" in inspect("e.onnx")
    for name in ("maps.json", "maps.html", "maps.svg"):
        assert main(["explain", "e.onnx", "ids.npy", "-o", name]) == 0, capsys.readouterr().err
    samples = json.loads(Path("maps.json").read_text())["samples"]
    assert [sample["tokens"] for sample in samples] == [
        ["a", "good", "film", "[PAD]"],
        ["a", "bad", "film", "6"],
    ]
    for name in ("maps.html", "maps.svg"):
        assert all(word in Path(name).read_text() for word in ("good", "bad", "film")), name
    found = IntegratedGradients("model.onnx", steps=3, wrt="embedded", vocabulary="vocab.txt")(IDS)
    assert found.tokens == told(IDS).tokens
    found.save("r.npz")
    assert Explanation.load("r.npz").tokens == found.tokens


@pytest.mark.parametrize("shape", [(40,), (40, 2)], ids=str)
def test_series_in_seconds(shape, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    onnx.save(series(*shape), "model.onnx")
    np.save("ecg.npy", np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32))
    command = ["model.onnx", "--method", "GradientInput", "--sampling-rate", "360", "--units", "ecg=mV"]
    assert main(["export", *command, "--units", "y=mmHg", "-o", "e.onnx"]) == 0
    told = onnxattr.load("e.onnx")
    assert told.meaning.inputs == {"ecg": InputMeaning("series", "mV", sampling_rate=360)}
    assert told.meaning.outputs["y"].unit == "mmHg"
    assert "in mV, 360 samples a second" in inspect("e.onnx")
    found = told("ecg.npy")
    assert (found.units, found.sampling_rates, found.score_unit) == ({"ecg": "mV"}, {"ecg": 360}, "mmHg")
    figure = found.plot(0)
    lines = [line for axes in figure.axes for line in axes.lines]
    np.testing.assert_allclose(lines[0].get_xdata(), np.arange(40) / 360)
    texts_drawn = [text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text"))]
    assert "values in mV, time in seconds" in texts_drawn
    assert any("mmHg" in text for text in texts_drawn)
    assert main(["explain", "e.onnx", "ecg.npy", "-o", "maps.json"]) == 0
    written = json.loads(Path("maps.json").read_text())
    assert (written["units"], written["sampling_rates"], written["score_unit"]) == (
        {"ecg": "mV"}, {"ecg": 360}, "mmHg",
    )  # fmt: skip
    found.save("r.npz")
    again = Explanation.load("r.npz")
    assert (again.units, again.sampling_rates, again.score_unit) == (
        found.units, found.sampling_rates, found.score_unit,
    )  # fmt: skip


def test_a_field_of_channels_in_seconds():
    found = GradientInput(series(50, 9), sampling_rate=12.5)(np.ones((1, 50, 9), np.float32))
    (image,) = [image for axes in found.plot(0).axes for image in axes.images][:1]
    assert image.get_extent()[:2] == pytest.approx([-0.5 / 12.5, 49.5 / 12.5])


def test_kinds_of_outputs_make_shares():
    """Shares are shown of logits that the caller says are logits."""
    x = IDS
    plain = GradientInput(texts(), wrt="embedded")(x)
    assert plain.top(1)[0][0].probability is None
    method = GradientInput(texts(), wrt="embedded", output_kind="logits")
    assert method.meaning.outputs == {"y": OutputMeaning("logits")}
    logits = method.predict(x).astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert [row[0].probability for row in method(x).top(1)] == pytest.approx(shares.max(1), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"units": ""}, "expected a unit such as 'mV'"),
        ({"units": {"speed": "m/s"}}, "units: the model has no 'speed' of that kind; it has 'ecg', 'y'"),
        ({"sampling_rate": 0}, "a number above 0"),
        ({"sampling_rate": float("inf")}, "a number above 0"),
        ({"sampling_rate": True}, "a number above 0"),
        ({"sampling_rate": {"y": 3}}, "sampling_rate: the model has no 'y' of that kind"),
        ({"output_kind": "odds"}, "expected one of 'logits', 'probabilities'"),
        ({"vocabulary": WORDS}, "the model has no inputs of integers, token ids"),
        ({"vocabulary": {"ecg": WORDS}}, "the input 'ecg' takes no ids of tokens"),
    ],
)
def test_what_does_not_fit_is_refused(options, says):
    with pytest.raises(ParameterError) as refusal:
        GradientInput(series(40), **options)
    assert says in str(refusal.value)


def test_images_have_no_sampling_rate():
    model = build([node("Flatten", ["x"], ["y"])], {"x": ["N", 3, 4, 4]}, {"y": ["N", 48]})
    with pytest.raises(ParameterError, match=r"no inputs that are series, \(N, T\)"):
        GradientInput(model, sampling_rate=10)


def test_a_softmax_gives_no_logits():
    model = build([node("Softmax", ["x"], ["p"])], {"x": ["N", 3]}, {"p": ["N", 3]})
    with pytest.raises(ParameterError, match="is the softmax or sigmoid of 'x', probabilities"):
        GradientInput(model, output_kind="logits", output_layer=None, verify=False)


def test_several_inputs_need_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = build([node("Add", ["a", "b"], ["y"])], {"a": ["N", 3], "b": ["N", 3]}, {"y": ["N", 3]})
    onnx.save(model, "model.onnx")
    with pytest.raises(ParameterError, match="several inputs of floats, 'a', 'b'; say which"):
        GradientInput(model, units="mV")
    assert main(["export", "model.onnx", "--units", "mV", "--units", "b=V", "-o", "e.onnx"]) == 2
    assert "--units NAME=mV" in capsys.readouterr().err
    assert main(["export", "model.onnx", "--units", "a=mV", "--units", "b=V", "-o", "e.onnx"]) == 0
    units = {name: one.unit for name, one in onnxattr.load("e.onnx").meaning.inputs.items()}
    assert units == {"a": "mV", "b": "V"}


def test_convert_writes_what_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    onnx.save(series(40), "model.onnx")
    command = ["convert", "model.onnx", "--sampling-rate", "50.5", "--units", "g", "--output-kind", "value"]
    assert main([*command, "-o", "said.onnx"]) == 0
    method = GradientInput("said.onnx")
    assert method.meaning.inputs["ecg"] == InputMeaning("series", "g", sampling_rate=50.5)
    assert method.meaning.outputs["y"] == OutputMeaning("value")
    assert main([*command, "--sampling-rate", "fast", "-o", "said.onnx"]) == 2
    assert "--sampling-rate" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", '{"ids": 3}', '{"ids": [3]}'])
def test_damaged_vocabularies_are_refused(text):
    with pytest.raises(ModelError, match="damaged"):
        read_vocabularies({KEY: text})


def test_a_method_with_many_words_has_a_short_name():
    """Ids by word, as a tokenizer's get_vocab() gives them."""
    vocabulary = {f"word{index}": index for index in range(7)} | {"more": 6}
    assert "vocabulary={'word0': 0" in repr(GradientInput(texts(), wrt="embedded", vocabulary=vocabulary))
    large = build(
        [
            node("Gather", ["table", "ids"], ["embedded"]),
            node("ReduceSum", ["embedded", "axes"], ["y"], keepdims=0),
        ],
        {"ids": (["N", "T"], onnx.TensorProto.INT64)},
        {"y": ["N", 3]},
        {"table": random(1, 3000, 3), "axes": np.array([1])},
    )
    many = {f"word{index}": index for index in range(3000)}
    assert "vocabulary=<3000 entries>" in repr(GradientInput(large, wrt="embedded", vocabulary=many))
