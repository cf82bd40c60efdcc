"""Several methods beside one file of weights: bad input and the command line."""

import json
import os

import numpy as np
import onnx
import pytest
from support.written_files import X, wide

import onnxattr
from onnxattr import inspection
from onnxattr.attributions import GradientInput, Saliency
from onnxattr.cli import main
from onnxattr.errors import OnnxAttrError, ParameterError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def model_file(folder):
    onnx.save(wide()[0], folder / "Saliency.onnx")
    return folder / "Saliency.onnx"


REFUSED = {
    "no methods": (lambda s, folder: ([], folder / "set"), "methods is empty"),
    "no methods in a mapping": (lambda s, folder: ({}, folder / "set"), "methods is empty"),
    "a path": (lambda s, folder: ("model.onnx", folder / "set"), "expected methods"),
    "no method": (lambda s, folder: ([s, 3], folder / "set"), "methods holds 3: expected methods on a model"),
    "a class": (lambda s, folder: ([Saliency], folder / "set"), "expected methods on a model"),
    "twice": (lambda s, folder: ([s, s], folder / "set"), "Two methods would be written into Saliency.onnx"),
    "two names to some systems": (lambda s, folder: ({"a": s, "A": s}, folder / "set"), "Two methods"),
    "a name with a folder": (lambda s, folder: ({"a/b": s}, folder / "set"), "expected the name of a file"),
    "a name that leads up": (lambda s, folder: ({"..": s}, folder / "set"), "expected the name of a file"),
    "an empty name": (lambda s, folder: ({".onnx": s}, folder / "set"), "expected the name of a file"),
    "a number as a name": (lambda s, folder: ({1: s}, folder / "set"), "expected the name of a file"),
    "a long name": (lambda s, folder: ({"a" * 300: s}, folder), "cannot be written"),
    "a file's name": (lambda s, folder: ([s], folder / "e.onnx"), "is named as a file is"),
    "a file": (lambda s, folder: ([s], model_file(folder)), "is a file: several methods"),
    "no name": (lambda s, folder: ([s], ""), "expected the path of a folder"),
    "in a file": (lambda s, folder: ([s], model_file(folder) / "set"), "cannot be made"),
    "the model's own file": (
        lambda s, folder: ([Saliency(model_file(folder))], folder),
        "is a file that is being read",
    ),
    "a folder in a file's place": (
        lambda s, folder: ((folder / "Saliency.onnx").mkdir() or [s], folder),
        "it is a folder",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_before_the_work(case, tmp_path, monkeypatch):
    give, text = REFUSED[case]
    methods, folder = give(Saliency(wide()[0]), tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(Saliency, "explainer", lambda *_, **__: pytest.fail("worked before the refusal"))
    with pytest.raises(ParameterError, match=text):
        onnxattr.export(methods, folder)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("given", "text"),
    [({"rendering": "loops"}, "rendering='loops'"), ({"target": "label"}, "target='label'")],
)
def test_words_that_are_none(given, text, tmp_path):
    with pytest.raises(ParameterError, match=text):
        onnxattr.export([Saliency(wide()[0])], tmp_path / "set", **given)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("given", "text"),
    [({"rendering": "loop"}, "nothing to repeat"), ({"baseline_input": True}, "no baseline")],
)
def test_what_no_method_has_is_said(given, text, tmp_path):
    with pytest.raises(OnnxAttrError, match=text):
        onnxattr.export([Saliency(wide()[0]), GradientInput(wide()[0])], tmp_path / "set", **given)
    assert not (tmp_path / "set").exists()


def test_a_link_into_another_folder_has_no_data_beside_it(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "Saliency.onnx").symlink_to(tmp_path / "elsewhere" / "e.onnx")
    with pytest.raises(ParameterError, match="is a link into another folder"):
        onnxattr.export([Saliency(wide()[0])], tmp_path / "set")


# ---- the command line


def test_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, weights = wide()
    onnx.save(model, "m.onnx")
    named = ["--method", "GradientInput", "--method", "IntegratedGradients", "--method", "SmoothGrad"]
    assert main(["export", "m.onnx", *named, "--steps", "3", "--nb-samples", "2", "-o", "set"]) == 0
    assert capsys.readouterr().out.split() == [
        word for name in named[1::2] for word in ("wrote", f"set/{name}.onnx")
    ]
    told = {name: onnxattr.load(f"set/{name}.onnx").metadata["parameters"] for name in named[1::2]}
    assert told["IntegratedGradients"]["steps"] == 3
    assert told["SmoothGrad"]["nb_samples"] == 2
    found = onnxattr.load("set/GradientInput.onnx").explain(X, [3, 5])
    np.testing.assert_allclose(found, X * weights[:, [3, 5]].T, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["--method", "Saliency", "-o", "set"], "--method Saliency is given twice"),
        (["--method", "GradientInput", "--steps", "3", "-o", "set"], "has an option --steps"),
        (
            ["--method", "GradientInput", "--noise-kind", "relative", "-o", "set"],
            "has an option --noise-kind",
        ),
        (["--method", "GradientInput", "-o", "set.onnx"], "set.onnx is named as a file is"),
        (["--method", "GradientInput", "-o", "m.onnx"], "m.onnx is a file"),
        (
            ["--method", "GradientInput", "-o", "set", "--weights", "inside"],
            "--weights inside is for one file",
        ),
        (["--method", "GradientInput", "--triton", "set"], "--triton writes the folder of one model"),
    ],
)
def test_command_line_refuses(given, text, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(wide()[0], "m.onnx")
    assert main(["export", "m.onnx", "--method", "Saliency", *given]) == 2
    assert text in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_inspect_tells_the_data_and_who_shares_it(tmp_path):
    paths = onnxattr.export([Saliency(wide()[0]), GradientInput(wide()[0])], tmp_path)
    (data,) = tmp_path.glob("weights-*.data")
    facts = inspection.facts(paths["Saliency"])["data_file"]
    assert facts == {
        "file": data.name,
        "bytes": data.stat().st_size,
        "sha256": facts["sha256"],
        "shared_with": ["GradientInput.onnx"],
    }
    assert data.name == f"weights-{facts['sha256'][:16]}.data"
    json.dumps(facts)
    text = inspection.inspect(paths["Saliency"])
    assert f"in {data.name}, which belongs beside this file, {facts['bytes']:,} bytes" in text
    assert "shared with GradientInput.onnx" in text
    Saliency(wide()[0]).export(tmp_path / "inside.onnx")
    assert inspection.facts(tmp_path / "inside.onnx")["data_file"] is None
    # A name that no weight reads was compared with no checksum.
    liar = onnx.load(tmp_path / "inside.onnx")
    onnx.helper.set_model_props(liar, {"onnxattr.data": "../secret", "onnxattr.data_sha256": "0" * 64})
    onnx.save(liar, tmp_path / "liar.onnx")
    assert inspection.facts(tmp_path / "liar.onnx")["data_file"] is None
    assert "checksum" not in inspection.inspect(tmp_path / "liar.onnx")
