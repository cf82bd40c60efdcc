"""Paths that start with ~: every door expands them, from Python and after "=" on the command line."""

import io
import json

import numpy as np
import onnx
import pytest
from onnxattr.converters.files import convert_file
from PIL import Image
from support.small_models import build, node

import onnxattr
from onnxattr import IntegratedGradients, Saliency, vjp
from onnxattr.attributions.triton import export_triton
from onnxattr.cli import main
from onnxattr.errors import ParameterError
from onnxattr.inspection import inspect
from onnxattr.results import Explanation
from onnxattr.testing import check_vjp

PHOTO = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
MODEL = build(
    [
        node("GlobalAveragePool", ["x"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("MatMul", ["f", "w"], ["y"]),
    ],
    {"x": ["N", 3, 4, 4]},
    {"y": ["N", 2]},
    {"w": np.array([[1, 2], [-1, 0.5], [3, -2]], np.float32)},
)
X = PHOTO.transpose(2, 0, 1)[None].astype(np.float32)
MAP = Saliency(MODEL, reducer=None).explain(X, 0)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user's folder with a model, a photo and what describes them; the commands run in another one."""
    folder, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(elsewhere)
    onnx.save(MODEL, folder / "model.onnx")
    Image.fromarray(PHOTO).save(folder / "photo.png")
    np.save(folder / "x.npy", X)
    (folder / "names.txt").write_text("cat\ndog\n")
    (folder / "photos.json").write_text(json.dumps({"scale": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1]}))
    return folder


READ = {
    "method": lambda: Saliency("~/model.onnx", reducer=None).explain(X, 0),
    "photo": lambda: (
        Saliency("~/model.onnx", reducer=None, preprocess="~/photos.json")
        .explain("~/photo.png", 0)
        .transpose(0, 3, 1, 2)
    ),
    "array": lambda: Saliency("~/model.onnx", reducer=None).explain(["~/x.npy"], 0),
    "labels": lambda: Saliency("~/model.onnx", reducer=None, labels="~/names.txt").explain(X, "cat"),
    "gradient": lambda: np.abs(
        onnx.reference.ReferenceEvaluator(vjp("~/model.onnx")).run(
            None, {"x": X, "y_cotangent": np.array([[1, 0]], np.float32)}
        )[1]
    ),
}


@pytest.mark.parametrize("door", READ)
def test_what_is_read(door):
    np.testing.assert_allclose(np.reshape(READ[door](), MAP.shape), MAP, rtol=1e-6)


def test_checks_and_overviews_take_them_too():
    assert check_vjp("~/model.onnx", {"x": X}) is not None
    assert "model.onnx" in str(inspect("~/model.onnx"))


WRITTEN = {
    "a.onnx": lambda: Saliency("~/model.onnx").export("~/a.onnx"),
    "beside.onnx": lambda: Saliency("~/model.onnx").export("~/beside.onnx", weights="beside"),
    "many/Saliency.onnx": lambda: onnxattr.export([Saliency("~/model.onnx")], "~/many"),
    "served/config.pbtxt": lambda: export_triton(Saliency("~/model.onnx"), "~/served"),
    "kept.npz": lambda: Saliency("~/model.onnx")(X, 0).save("~/kept.npz"),
    "drawn.png": lambda: Saliency("~/model.onnx")(X, 0).plot(path="~/drawn.png"),
    "described.onnx": lambda: convert_file("~/model.onnx", "~/described.onnx", labels="~/names.txt"),
    "cli.onnx": lambda: main(["export", "~/model.onnx", "--output=~/cli.onnx"]),
    "maps.npy": lambda: main(
        [
            "explain",
            "~/model.onnx",
            "~/photo.png",
            "--preprocess=~/photos.json",
            "--labels=~/names.txt",
            "-o~/maps.npy",
        ]
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written(name, home, tmp_path):
    WRITTEN[name]()
    assert (home / name).stat().st_size > 0
    assert not list((tmp_path / "elsewhere").iterdir())


def test_what_was_written_is_read_again():
    method = Saliency("~/model.onnx", reducer=None)
    method.export("~/a.onnx")
    method(X, 0).save("~/kept.npz")
    np.testing.assert_allclose(onnxattr.load("~/a.onnx").explain(X, 0), MAP, rtol=1e-6)
    np.testing.assert_array_equal(Explanation.load("~/kept.npz").attributions["x"], MAP)


@pytest.mark.parametrize("read", ["model.onnx", "names.txt"])
def test_what_is_read_is_not_written(read, home):
    before = (home / read).read_bytes()
    method = Saliency("~/model.onnx", labels="~/names.txt")
    for path in (f"~/{read}", home / read):
        with pytest.raises(ParameterError, match="is being read"):
            method.export(path)
    assert main(["export", "~/model.onnx", "--labels=~/names.txt", f"--output=~/{read}"]) == 2
    assert (home / read).read_bytes() == before


def test_a_file_of_such_a_name_stays_what_is_meant(tmp_path):
    onnx.save(MODEL, tmp_path / "elsewhere" / "~odd.onnx")
    np.testing.assert_allclose(Saliency("~odd.onnx", reducer=None).explain(X, 0), MAP, rtol=1e-6)


@pytest.mark.parametrize("given", [io.BytesIO(), None, 3])
def test_what_is_no_path_is_said(given):
    with pytest.raises(ParameterError, match=r"expected its path.*explainer\(\).SerializeToString\(\)"):
        IntegratedGradients(MODEL).export(given)
