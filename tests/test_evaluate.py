"""Methods times metrics: the table, its verdicts, its files and pictures, from Python and from the command line."""

import csv
import json

import numpy as np
import onnx
import pytest
from PIL import Image
from support.small_models import cnn_nhwc, mlp, two_inputs

from onnxattr import metrics
from onnxattr.attributions import GradientInput, IntegratedGradients, Saliency
from onnxattr.cli import main
from onnxattr.errors import ParameterError, ShapeError
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
