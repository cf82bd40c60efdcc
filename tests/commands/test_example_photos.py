"""The small program for Node reads the pixels of photos that the package reads, of every kind that PNG files have."""

import json
import subprocess

import numpy as np
import pytest
from PIL import Image
from support.node_program import NODE, ROOT
from support.tiny_graphs import parse

import onnxattr
from onnxattr import GradientInput

MODEL = """m (float[N,3,8,8] x) => (float[N,3] y) <int64[2] axes = {2, 3}> { y = ReduceMean<keepdims=0>(x, axes) }"""
DRAW = np.random.default_rng(0)
BYTES = DRAW.integers(0, 256, (30, 40, 4), np.uint8)
#: Not the multiples of 257 that 8 bits are, so that they are rounded.
WORDS = DRAW.integers(0, 65536, (30, 40), np.uint16)
KINDS = {
    "colour": Image.fromarray(BYTES[..., :3]),
    "grey": Image.fromarray(BYTES[..., 0]),
    "partly transparent": Image.fromarray(BYTES),
    "grey, partly transparent": Image.fromarray(BYTES).convert("LA"),
    "palette, a transparent colour": Image.fromarray(BYTES[..., :3]).quantize(32),
    "16 bits": Image.fromarray(WORDS),
    "dark, 16 bits": Image.fromarray(WORDS // 64),
}


@pytest.fixture(scope="module")
def explainer(tmp_path_factory):
    path = tmp_path_factory.mktemp("explainer") / "e.onnx"
    GradientInput(parse(MODEL), preprocess="0..1").export(path)
    return path


def ran(program, explainer, path):
    return subprocess.run([*program, explainer, path], cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("program", [NODE])
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_those_of_the_package(program, kind, explainer, tmp_path):
    options = {"transparency": 3} if kind.startswith("palette") else {}
    KINDS[kind].save(tmp_path / "photo.png", **options)
    top = json.loads(ran(program, explainer, tmp_path / "photo.png").stdout)["top"]
    found = {each["label"]: each["value"] for each in top}
    expected = {
        guess.label: guess.value for guess in onnxattr.load(explainer)(tmp_path / "photo.png").top(3)[0]
    }
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("program", [NODE])
@pytest.mark.parametrize("suffix", ["png", "webp", "gif"])
def test_several_pictures_are_refused(program, suffix, explainer, tmp_path):
    path = tmp_path / f"photo.{suffix}"
    KINDS["colour"].save(path, save_all=True, append_images=[KINDS["colour"].rotate(180)])
    said = ran(program, explainer, path)
    assert said.returncode
    assert "as animations do: save the one that is meant" in said.stderr
