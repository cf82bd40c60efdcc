"""``onnxattr explain`` on photographs: what it prints and writes is what the methods give for their pixels."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.small_models import build, node, random

import onnxattr
from models import digits, efficientnet_lite0, photos
from onnxattr import Explanation, GradCAM, GradientInput, IntegratedGradients
from onnxattr.cli import main
from onnxattr.inputs.view import seen_part
from onnxattr.loading.preprocessing.spec import Preprocessing
from onnxattr.results.photos import drawn_photos

ROOT = Path(__file__).parents[2]
CAT, CUP = photos.load("chelsea"), photos.load("coffee")


def shell(script, folder):
    """Runs commands as a user's shell does, in a folder that has models/ as the clone has."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )


def test_three_commands_of_the_readme(tmp_path):
    """All but the installation, on a JPEG of a cat."""
    block = (ROOT / "README.md").read_text().split("## Three commands")[1].split("```sh\n")[1].split("```")[0]
    install, make, explain = (line.split("#")[0].strip() for line in block.strip().splitlines())
    assert install.startswith('pip install ".[cpu,plot,photo]"')
    os.symlink(ROOT / "models", tmp_path / "models")
    Image.fromarray(CAT).save(tmp_path / "photo.jpg", quality=95)
    ran = shell(f"{make}\n{explain}", tmp_path)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[1] == "photo.jpg"
    assert lines[2].split()[:2] == ["Egyptian", "cat"]
    # Softmax of the logits of the whole preprocessing in float32; Pillow's crop of 8 bits gives 38 %.
    assert float(lines[2].split()[-1].rstrip("%")) == pytest.approx(39.4, abs=1.5)
    assert lines[-1] == "wrote photo.why.png"
    picture = Image.open(tmp_path / "photo.why.png")
    assert picture.width > 600
    assert len(picture.convert("RGB").getcolors(1 << 24)) > 5000


LITE = {
    "resize": "shortest_edge",
    "size": 224,
    "crop": 224,
    "kernel": "bicubic",
    "scale": 1 / 128,
    "mean": 127 / 128,
}


@pytest.fixture(scope="module")
def lite0(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lite0")
    Image.fromarray(CAT).save(folder / "cat.png")
    Image.fromarray(CUP).save(folder / "cup.png")
    (folder / "lite.json").write_text(json.dumps(LITE))
    import onnx

    onnx.save(efficientnet_lite0.with_description(efficientnet_lite0.build()), folder / "model.onnx")
    method = GradCAM(folder / "model.onnx", preprocess=folder / "lite.json")
    method.export(folder / "e.onnx")
    return folder, method


def test_explainer_and_model_say_the_same(lite0, monkeypatch, capsys):
    """The maps are those of the pixels, the classes those of the network, for an explainer and for the model."""
    folder, method = lite0
    monkeypatch.chdir(folder)
    shown = []
    for model in (["e.onnx"], ["model.onnx", "--method", "GradCAM"]):
        assert (
            main(["explain", *model, "cat.png", "cup.png", "-o", "maps.npz", "--picture", "sheet.png"]) == 0
        )
        shown.append(capsys.readouterr().out)
        maps = np.load("maps.npz")
        assert maps.files == ["cat.png", "cup.png"]
        for name, pixels in (("cat.png", CAT), ("cup.png", CUP)):
            expected = method.explain(pixels[None])[0]
            assert maps[name].shape == (*pixels.shape[:2], 1)
            np.testing.assert_allclose(maps[name], expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert shown[0] == shown[1]
    logits = np.concatenate([method.predict(pixels[None]) for pixels in (CAT, CUP)]).astype(np.float64)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    names, told = efficientnet_lite0.class_names(), shown[0].splitlines()
    for row, start in enumerate((0, 7)):
        assert told[start] == ("cat.png", "cup.png")[row]
        for place, label in enumerate(np.argsort(-logits[row])[:5]):
            line = told[start + 1 + place]
            assert line.strip().startswith(names[label])
            assert float(line.split()[-2]) == pytest.approx(logits[row, label], rel=1e-3)
            assert float(line.split()[-1].rstrip("%")) == pytest.approx(100 * shares[row, label], abs=0.06)
    assert told[6] == f"  explained: Egyptian cat, score {logits[0].max():.4g}"


def pixels_model():
    """A network of one convolution on images of 8 x 8, with three named classes."""
    nodes = [node("Conv", ["image", "k"], ["c"]), node("Sigmoid", ["c"], ["s"])]
    nodes += [node("GlobalAveragePool", ["s"], ["mean"]), node("Flatten", ["mean"], ["logits"])]
    return build(nodes, {"image": ["N", 3, 8, 8]}, {"logits": ["N", 3]}, {"k": random(1, 3, 3, 3, 3)})


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Two photos of one size and one of another, an array, a table and their models, in the folder of the test."""
    import onnx

    monkeypatch.chdir(tmp_path)
    onnx.save(pixels_model(), "model.onnx")
    table = build(
        [node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 3]}, {"y": ["N", 2]}, {"w": random(1, 3, 2)}
    )
    onnx.save(table, "table.onnx")
    for name, size in (("a.png", (20, 30)), ("b.png", (20, 30)), ("c.png", (40, 16))):
        pixels = np.random.default_rng(len(name)).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(name)
    Path("rows.csv").write_text("age,height,weight\n1,2,3\n4,5,6\n")
    np.save("images.npy", np.random.default_rng(0).random((2, 3, 8, 8), np.float32))
    return tmp_path


PHOTO = [
    "explain",
    "model.onnx",
    "--preprocess",
    "0..1",
    "--method",
    "GradientInput",
    "--labels",
    "names.txt",
]


def test_what_the_suffix_says_is_written(small, capsys):
    Path("names.txt").write_text("cat\ndog\nbird\n")
    method = GradientInput("model.onnx", preprocess="0..1", labels=["cat", "dog", "bird"])
    expected = {name: method.explain(name) for name in ("a.png", "b.png", "c.png")}
    for name in ("maps.npz", "maps.json", "page.html", "sheet.svg", "sheet.png"):
        assert main([*PHOTO, "a.png", "b.png", "c.png", "-o", name]) == 0, capsys.readouterr().err
    maps = np.load("maps.npz")
    samples = json.loads(Path("maps.json").read_text())["samples"]
    for sample, (name, array) in zip(samples, expected.items(), strict=True):
        np.testing.assert_array_equal(maps[name], array[0])
        np.testing.assert_array_equal(np.float32(sample["attributions"]["pixels"]), array[0])
        label = int(method.predict(name).argmax())
        assert (sample["sample"], sample["target"]) == (name, label)
        assert sample["target_name"] == ["cat", "dog", "bird"][label] == sample["top"][0]["name"]
    page = Path("page.html").read_text()
    assert page.count("data:image/png;base64") == 2  # one for each size
    assert "http" not in page.replace("http-equiv", "")
    assert all(name in Path("sheet.svg").read_text() for name in expected)
    assert main([*PHOTO, "a.png", "b.png", "-o", "maps.npy"]) == 0
    np.testing.assert_array_equal(np.load("maps.npy"), np.concatenate([expected["a.png"], expected["b.png"]]))


def test_tables_as_csv(small):
    assert main(["explain", "table.onnx", "rows.csv", "--steps", "3", "-o", "maps.csv"]) == 0
    found = list(csv.DictReader(Path("maps.csv").read_text().splitlines()))
    result = IntegratedGradients("table.onnx", steps=3)("rows.csv")
    assert list(found[0])[-3:] == ["age", "height", "weight"]
    for row, line in enumerate(found):
        np.testing.assert_allclose(
            [float(line[name]) for name in ("age", "height", "weight")], result[row], rtol=1e-6
        )
        assert int(line["target"]) == result.targets[row]
        assert float(line["score"]) == pytest.approx(float(result.scores[row]))
        assert float(line["gap"]) == pytest.approx(float(result.relative_gap[row]), abs=1e-9)


def test_pictures_beside_photos(small, capsys):
    Path("names.txt").write_text("cat\ndog\nbird\n")
    Image.open("a.png").save("a.jpg")
    assert main([*PHOTO, "."]) == 2  # .csv and .npy files lie among the photos
    assert "several kinds" in capsys.readouterr().err
    os.mkdir("photos")
    for name in ("a.png", "a.jpg", "c.png"):
        os.rename(name, f"photos/{name}")
    for _ in range(2):  # the pictures are no photos to be explained
        assert main([*PHOTO, "photos"]) == 0
        told = capsys.readouterr().out.splitlines()
        names = ["a.jpg.why.png", "a.png.why.png", "c.why.png"]
        assert told[-3:] == [f"wrote photos/{name}" for name in names]
        assert sorted(os.listdir("photos")) == sorted(["a.png", "a.jpg", "c.png", *names])


REFUSED = {
    "no preprocessing": (["model.onnx", "a.png"], "how a photo becomes its input 'image'"),
    "nothing to write": (["model.onnx", "images.npy"], "Say what to write"),
    "unknown suffix": (["model.onnx", "images.npy", "-o", "maps.xlsx"], "Give a name that ends in .npy"),
    "images as .csv": (
        ["model.onnx", "images.npy", "-o", "maps.csv"],
        "has rank 4; write a .npy or .npz file, or .json",
    ),
    "sizes as .npy": (
        [*PHOTO[1:], "a.png", "c.png", "-o", "maps.npy"],
        "several sizes, and so have their maps",
    ),
    "kinds": (["model.onnx", "a.png", "rows.csv", "-o", "maps.npz"], "several kinds"),
    "missing": (["model.onnx", "no.png"], "no.png: there is no such file"),
    "one of several is damaged": (
        [*PHOTO[1:], "a.png", "bad.png"],
        "bad.png cannot be read as a photo: it is no picture that can be read (",
    ),
    "and the way out": ([*PHOTO[1:], "bad.png", "a.png"], "With -o FOLDER/ the other files are explained"),
    "row": ([*PHOTO[1:], "a.png", "--picture", "p.png", "--row", "1"], "samples 0 to 0"),
    "two names for one": ([*PHOTO[1:], "a.png", "--picture", "p.png", "-o", "p.png"], "Give two names"),
    "over a photo": ([*PHOTO[1:], "a.png", "-o", "a.png"], "is a file that is being read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_any_work(case, small, capsys, monkeypatch):
    arguments, says = REFUSED[case]
    Path("names.txt").write_text("cat\ndog\nbird\n")
    Path("bad.png").write_text("no photo")
    before = sorted(os.listdir())
    monkeypatch.setattr("onnxattr.session.Session.run", lambda *_: pytest.fail("ran before the refusal"))
    assert main(["explain", *arguments]) == 2
    shown = capsys.readouterr().err
    assert says in shown
    assert len(shown.splitlines()) == 1
    assert sorted(os.listdir()) == before


def test_targets_of_several_photos(small, capsys):
    np.save("labels.npy", np.array([2, 0, 1]))
    Path("names.txt").write_text("cat\ndog\nbird\n")
    method = GradientInput("model.onnx", preprocess="0..1")
    for targets, labels in (("labels.npy", [2, 0, 1]), ("1", [1, 1, 1]), ("bird", [2, 2, 2])):
        assert main([*PHOTO, "a.png", "b.png", "c.png", "--targets", targets, "-o", "maps.npz"]) == 0
        maps = np.load("maps.npz")
        for name, label in zip(("a.png", "b.png", "c.png"), labels, strict=True):
            np.testing.assert_array_equal(maps[name], method.explain(name, [label])[0])


SPECS = {
    "stretch": {"resize": "stretch", "size": (8, 8)},
    "shorter side": {"resize": "shortest_edge", "size": (10, 10), "crop": (8, 8)},
    "letterbox": {"resize": "letterbox", "size": (8, 8)},
    "middle": {"resize": "none", "crop": (8, 8)},
}


@pytest.mark.parametrize("case", SPECS)
@pytest.mark.parametrize("size", [(60, 90), (90, 60), (40, 40)])
def test_maps_of_the_input_lie_on_what_the_network_sees(case, size, tmp_path):
    """A photo whose pixels say where they are, as the network sees it."""
    model = build([node("Mul", ["image", "one"], ["y"])], {"image": ["N", 3, 8, 8]}, {"y": ["N", 3, 8, 8]},
                  {"one": np.float32(1)})  # fmt: skip
    spec = SPECS[case]
    where = np.zeros((*size, 3), np.uint8)
    where[..., 0], where[..., 1], where[..., 2] = np.arange(size[0])[:, None], np.arange(size[1]), 255
    method = GradientInput(model, preprocess=spec, attributions_at="input")
    image = method(where[None], np.ones((1, 3, 8, 8)))
    top, left, bottom, right = seen_part(Preprocessing(**spec), *size)
    assert image.seen == (top, left, bottom, right)
    (shown,) = drawn_photos(image, "image", {}).images
    assert shown.shape == (bottom - top, right - left, 3)
    visible = where[max(top, 0) : bottom, max(left, 0) : right]
    there = shown[max(-top, 0) :, max(-left, 0) :][: visible.shape[0], : visible.shape[1]]
    np.testing.assert_array_equal(there, visible)
    network = np.asarray(image)[0]  # x times the gradient of its sum is x
    inside = network[2] > 254.5
    rows = top + (np.arange(8) + 0.5) * (bottom - top) / 8 - 0.5
    columns = left + (np.arange(8) + 0.5) * (right - left) / 8 - 0.5
    step = max((bottom - top) / 8, (right - left) / 8)
    assert np.abs(network[0] - rows[:, None])[inside].max() < 0.6 * step + 1
    assert np.abs(network[1] - columns)[inside].max() < 0.6 * step + 1
    beyond = (rows < -step) | (rows > size[0] + step), (columns < -step) | (columns > size[1] + step)
    outside = beyond[0][:, None] | beyond[1]
    assert not inside[outside].any()
    image.save(tmp_path / "r.npz")
    assert Explanation.load(tmp_path / "r.npz").seen == image.seen


def test_the_first_classes():
    method = GradientInput(pixels_model(), labels=["cat", "dog", "bird"])
    x = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
    found, logits = method(x), method.predict(x)
    for row in range(2):
        guesses = found.top(2)[row]
        order = np.argsort(-logits[row])[:2]
        assert [guess.label for guess in guesses] == list(order)
        assert [guess.name for guess in guesses] == [["cat", "dog", "bird"][k] for k in order]
        np.testing.assert_allclose([guess.value for guess in guesses], logits[row, order], rtol=1e-6)
        assert guesses[0].probability is None  # the file does not say that these are logits


def test_logits_before_a_softmax_have_a_share(tmp_path):
    """A model cut before its softmax gives logits, and the shares are what the softmax gives."""
    x = np.random.default_rng(0).random((3, 28, 28, 1), np.float32)
    whole = GradientInput(digits.ONNX_FILE, operator="classification").predict(x)
    method = GradientInput(digits.ONNX_FILE, output_layer="logits")
    method.export(tmp_path / "e.onnx")
    for found in (method(x), onnxattr.load(tmp_path / "e.onnx")(x)):
        for row, guesses in enumerate(found.top(3)):
            shares = [guess.probability for guess in guesses]
            np.testing.assert_allclose(shares, np.sort(whole[row])[::-1][:3], rtol=1e-4, atol=1e-6)
