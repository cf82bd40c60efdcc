"""Methods times metrics: the table, its verdicts, its files and pictures, from Python and from the command line."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from support.small_models import build, cnn_nhwc, mlp, node, random, two_inputs

from onnxattr import metrics
from onnxattr.attributions import GradientInput, IntegratedGradients, Saliency
from onnxattr.cli import main
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.loading.preprocessing.files import preprocessing_of
from onnxattr.loading.preprocessing.spec import KEY
from onnxattr.metrics.evaluation import Evaluation

IMAGES, LABELS = cnn_nhwc(), np.array([1, 4, 0])


@pytest.fixture(scope="module")
def result():
    methods = {"a": Saliency(IMAGES.model), "b": IntegratedGradients(IMAGES.model, steps=7)}
    x = IMAGES.given
    made = [
        metrics.Deletion(IMAGES.model, x, LABELS, steps=4),
        metrics.MuFidelity(IMAGES.model, x, LABELS, nb_samples=20),
        metrics.Complexity(),
        metrics.MaxSensitivity(IMAGES.model, x, LABELS, nb_samples=2),
    ]
    return metrics.evaluate(methods | metrics.controls(x, 3), x, LABELS, made)


def test_numbers_are_those_of_each_metric(result):
    assert result.methods == ["a", "b", "random", "|x|", "edges"]
    assert result.gradients == {"a": 3, "b": 21}
    assert set(result.seconds) == {"a", "b"}
    maps = IntegratedGradients(IMAGES.model, steps=7).explain(IMAGES.given, LABELS)
    for name, numbers in result.scores.items():
        metric = result.metrics[name]
        given = IntegratedGradients(IMAGES.model, steps=7) if metric.takes == "method" else maps
        np.testing.assert_array_equal(numbers["b"], metric.of_samples(given))
        assert ("random" in numbers) == (metric.takes == "maps")
    curve = result.curves["Deletion"]["b"]
    np.testing.assert_allclose(curve.shares, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(curve.scores, result.metrics["Deletion"].curves(maps)[1])


def test_table(result):
    lines = result.table().splitlines()
    assert lines[0].split() == ["method", *result.metrics, "seconds", "gradients"]
    assert lines[1].split() == [
        "lower",
        "is",
        "better",
        "higher",
        "is",
        "better",
        *["lower", "is", "better"] * 2,
    ]
    assert len({len(line) for line in lines[:1] + lines[3:5]}) == 1
    numbers = result.scores["Deletion"]["a"]
    error = numbers.std(ddof=1) / np.sqrt(3)
    assert f"{numbers.mean():.4g} ± {error:.2g}" in lines[3]
    assert lines[5].split()[-3:] == ["-", "-", "-"]


def test_controls():
    """Edges of a ramp are even; a random map is the same for all channels; |x| takes the largest."""
    ramp = np.broadcast_to(np.arange(5.0)[None, :, None, None] * 2, (2, 5, 4, 3)).astype(np.float32)
    found = metrics.controls(ramp, 3, seed=1)
    assert all(maps.shape == (2, 5, 4, 1) for maps in found.values())
    np.testing.assert_allclose(found["edges"], 2.0)
    np.testing.assert_array_equal(found["|x|"], ramp[..., :1])
    np.testing.assert_array_equal(found["random"], metrics.controls(ramp, 3, seed=1)["random"])
    assert list(metrics.controls(ramp[:, :, 0, 0], None)) == ["random", "|x|"]


@pytest.mark.parametrize(
    ("b", "expected"),
    [
        ([1.1, 2.1, 3.1, 4.1], ["a"]),  # each a little worse: told apart, though the spread is large
        ([1.9, 1.4, 3.9, 3.2], ["a", "b"]),
        ([0.5, 1.0, 2.0, 3.0], ["b"]),
    ],
)
def test_best(b, expected):
    evaluation = Evaluation(["a", "b"], {"Complexity": metrics.Complexity()})
    evaluation.scores = {"Complexity": {"a": np.array([1.0, 2, 3, 4]), "b": np.array(b)}}
    assert evaluation.best("Complexity") == expected


def test_refused():
    method, x = Saliency(IMAGES.model), IMAGES.given
    deletion = metrics.Deletion(IMAGES.model, x, LABELS)
    with pytest.raises(ParameterError, match="none twice"):
        metrics.evaluate({"a": method}, x, LABELS, [deletion, deletion])
    with pytest.raises(ParameterError, match="at least one of each"):
        metrics.evaluate({}, x, LABELS, [deletion])
    with pytest.raises(ShapeError, match="Deletion of mine: The explanations have shape"):
        metrics.evaluate({"mine": x[:2]}, x, LABELS, [deletion])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, case in {"images": IMAGES, "mlp": mlp(head="Softmax"), "two": two_inputs()}.items():
        onnx.save(case.model, tmp_path / f"{name}.onnx")
        np.savez(tmp_path / f"{name}.npz", **case.inputs)
        if len(case.inputs) == 1:
            np.save(tmp_path / f"{name}.npy", case.given)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments):
    status = main(["evaluate", *(str(argument) for argument in arguments)])
    return status, *capsys.readouterr()


def test_command(folder, capsys):
    chosen = ["--methods", "Saliency,GradientInput", "--metrics", "Deletion,Insertion,Sparseness"]
    status, out, err = run(
        capsys, "images.onnx", "images.npy", *chosen, "--targets", 2, "--steps", 3, "--baseline-value", 0.5,
        "-o", "table.csv", "--picture", "curves.png",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert "Deletion: " in out
    assert out.endswith("wrote table.csv\nwrote curves.png\n")
    with open("table.csv", newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["Saliency", "GradientInput", "random", "|x|", "edges"]
    maps = GradientInput(IMAGES.model).explain(IMAGES.given, np.full(3, 2))
    expected = metrics.Insertion(IMAGES.model, IMAGES.given, np.full(3, 2), steps=3, baseline_mode=0.5)(maps)
    assert float(rows["GradientInput"]["Insertion"]) == pytest.approx(expected, rel=1e-6)
    assert rows["random"]["gradients"] == ""
    picture = np.asarray(Image.open("curves.png").convert("RGB"))
    assert picture.shape[1] == 1600
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100


def test_command_with_every_metric(folder, capsys):
    """A softmax behind the logits, one of two inputs, JSON with every sample."""
    names = ["Deletion", "Insertion", "MuFidelity", "Infidelity", "AverageDropMetric", "AverageStability",
             "ModelRandomizationMetric", "Complexity"]  # fmt: skip
    status, _, _ = run(
        capsys, "two.onnx", "two.npz", "--wrt", "features", "--methods", "GradientInput", "--no-controls",
        "--metrics", ",".join(names), "--activation", "softmax", "-o", "table.json",
    )  # fmt: skip
    assert status == 0
    found = json.loads((folder / "table.json").read_text())
    assert set(found["metrics"]) == set(names)
    assert list(found["methods"]) == ["GradientInput"]
    assert all(len(numbers) == 3 for numbers in found["methods"]["GradientInput"]["scores"].values())
    assert found["metrics"]["Deletion"]["better"] == "lower"


REFUSED = {
    "method": (["--methods", "Rise"], "--methods 'Rise'"),
    "method of a method": (["--methods", "NoiseTunnel"], "--methods 'NoiseTunnel'"),
    "metric twice": (["--metrics", "Deletion,Deletion"], "each once"),
    "suffix": (["-o", "table.txt"], ".csv or .json"),
    "picture without curves": (["--metrics", "Complexity", "--picture", "c.png"], "Deletion and Insertion"),
    "noise of none": (
        ["--methods", "Saliency", "--noise", "0.3"],
        "no noise is drawn by Saliency; methods that draw it: GradientShap",
    ),
    "over the input": (["-o", "images.csv", "--targets", "images.csv"], "being read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_command_refuses(name, folder, capsys):
    options, text = REFUSED[name]
    (folder / "images.csv").write_text("1\n2\n0\n")
    status, out, err = run(capsys, "images.onnx", "images.npy", *options)
    assert (status, out) == (2, "")
    assert text in err
    assert err.count("\n") == 1


def test_command_refuses_a_number(folder, capsys):
    np.save("number.npy", np.float32(3))
    status, _, err = run(capsys, "mlp.onnx", "number.npy")
    assert (status, "'x' has shape ()" in err) == (2, True)


SIZES = {"a.png": (9, 12), "b.png": (14, 10), "c.png": (9, 12), "d.png": (12, 12)}


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Photos of three sizes, interleaved, and a network of named classes for images of 6 x 6."""
    nodes = [node("Conv", ["image", "k"], ["c"]), node("Sigmoid", ["c"], ["s"])]
    nodes += [node("GlobalAveragePool", ["s"], ["mean"]), node("Flatten", ["mean"], ["logits"])]
    kernel = 4 * random(1, 3, 3, 3, 3)
    model = build(nodes, {"image": ["N", 3, 6, 6]}, {"logits": ["N", 3]}, {"k": kernel})
    monkeypatch.chdir(tmp_path)
    onnx.save(model, "plain.onnx")
    onnx.helper.set_model_props(
        model, {KEY: preprocessing_of("0..1").text(), "onnxattr.labels": '["cat", "dog", "owl"]'}
    )
    onnx.save(model, "model.onnx")
    (tmp_path / "photos").mkdir()
    pixels = {}
    for number, (name, size) in enumerate(SIZES.items()):
        pixels[name] = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels[name]).save(f"photos/{name}")
    return pixels


PHOTOS = ["--methods", "Saliency,GradientInput", "--metrics", "Deletion,Sparseness", "--steps", "4"]


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        (["model.onnx"], {}),
        (["model.onnx", "--attributions-at", "input"], {"attributions_at": "input"}),
        (["plain.onnx", "--preprocess", "0..1", "--labels", "names.txt"], {}),
    ],
    ids=["expected", "at the input", "asked for"],
)
def test_photos_of_several_sizes(options, parameters, photos, capsys):
    """Each photo's number is that of the metric on it alone, in the order of the files; classes have names."""
    Path("names.txt").write_text("cat\ndog\nowl\n")
    model, *rest = options
    status, out, err = run(
        capsys, model, "photos", *rest, *PHOTOS, "-o", "table.json", "--picture", "curves.png"
    )
    assert (status, err) == (0, "")
    found = json.loads(Path("table.json").read_text())
    method = GradientInput("model.onnx", preprocess="0..1", **parameters)
    for row, (name, pixels) in enumerate(photos.items()):
        label = int(method.predict(pixels[None]).argmax())
        target = ["cat", "dog", "owl"][label]
        assert found["samples"][row] == {"sample": name, "target": target}
        assert out.splitlines()[row] == f"{name}: {target}"
        expected = metrics.Deletion(method, pixels[None], steps=4).of_samples(method.explain(pixels[None]))
        numbers = found["methods"]["GradientInput"]["scores"]["Deletion"]
        assert numbers[row] == pytest.approx(expected[0], rel=1e-5)
        sparse = metrics.Sparseness(channel_axis=method._plan.request.channel_axes[0])
        numbers = found["methods"]["GradientInput"]["scores"]["Sparseness"]
        assert numbers[row] == pytest.approx(sparse.of_samples(method.explain(pixels[None]))[0], rel=1e-5)
    assert found["methods"]["Saliency"]["gradients"] == 4
    assert set(found["methods"]) == {"Saliency", "GradientInput", "random", "|x|", "edges"}


def test_targets_of_photos_in_the_order_of_files(photos, capsys):
    np.save("labels.npy", np.array([2, 0, 1, 2]))
    for given, labels in (("labels.npy", [2, 0, 1, 2]), ("owl", [2] * 4), ("1", [1] * 4)):
        command = ["model.onnx", "photos", *PHOTOS, "--targets", given, "-o", "table.json", "--no-controls"]
        assert run(capsys, *command)[0] == 0
        found = json.loads(Path("table.json").read_text())
        assert [s["target"] for s in found["samples"]] == [["cat", "dog", "owl"][label] for label in labels]
        method = GradientInput("model.onnx", preprocess="0..1")
        for row, (pixels, label) in enumerate(zip(photos.values(), labels, strict=True)):
            maps = method.explain(pixels[None], label)
            expected = metrics.Deletion(method, pixels[None], [label], steps=4).of_samples(maps)
            numbers = found["methods"]["GradientInput"]["scores"]["Deletion"]
            assert numbers[row] == pytest.approx(expected[0], rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plain.onnx", "photos"], "add --preprocess"),
        (["model.onnx", "photos", "--steps", "-1", "--picture", "p.png"], "curves of several lengths"),
        (["model.onnx", "photos", "--targets", "emu"], "none of the model's 3 classes"),
        (["model.onnx", "nowhere"], "nowhere: there is no such file or folder"),
        (
            ["model.onnx", "photos/a.png", "photos/b.png", "--targets", "labels.npy"],
            "3 targets for 2 samples",
        ),
        (["model.onnx", "photos", "-o", "photos/a.png"], "ends in .csv or .json"),
    ],
)
def test_photos_refused(arguments, says, photos, capsys):
    np.save("labels.npy", np.array([2, 0, 1]))
    status, out, err = run(capsys, *arguments, *PHOTOS[:4])
    assert (status, out) == (2, "")
    assert says in err
    assert len(err.splitlines()) == 1


def test_many_photos_are_counted_by_class(photos, capsys):
    for number in range(13):
        shutil.copy("photos/a.png", f"photos/copy{number:02}.png")
    status, out, _ = run(capsys, "model.onnx", "photos", *PHOTOS[:4], "--no-controls", "--targets", "dog")
    assert status == 0
    assert out.splitlines()[0] == "explained: dog (17)"


def test_several_arrays_are_one_evaluation(folder, capsys):
    """Files of one shape are one batch; numbers are those of one file with all of the samples."""
    np.save("first.npy", IMAGES.given[:1])
    np.save("second.npy", IMAGES.given[1:])
    tables = []
    for files in (["images.npy"], ["first.npy", "second.npy"]):
        command = ["images.onnx", *files, *PHOTOS, "--no-controls", "-o", "table.json"]
        assert run(capsys, *command)[0] == 0
        found = json.loads(Path("table.json").read_text())
        assert "samples" not in found
        tables.append({name: entry["scores"] for name, entry in found["methods"].items()})
    for name, scores in tables[0].items():
        for metric, numbers in scores.items():
            np.testing.assert_allclose(tables[1][name][metric], numbers, rtol=1e-5)
