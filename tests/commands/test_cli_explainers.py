"""The command line on exported explainers: maps, the gap, and pictures of a row."""

import os
import re

import numpy as np
import pytest
from support.command_line import run


@pytest.mark.parametrize(("method", "options"), [("IntegratedGradients", []), ("SmoothGrad", ["--seed", 5])])
def test_explain_by_an_explainer(method, options, cli_folder, capsys):
    arguments = ["--method", method, "--output-layer", "logits"]
    assert run(capsys, "export", "probabilities.onnx", *arguments, "-o", "e.onnx")[0] == 0
    assert run(capsys, "explain", "e.onnx", "mlp.npy", "--targets", 2, "-o", "e.npy", *options)[0] == 0
    assert (
        run(
            capsys,
            "explain",
            "probabilities.onnx",
            "mlp.npy",
            "--targets",
            2,
            "-o",
            "m.npy",
            *arguments,
            *options,
        )[0]
        == 0
    )
    expected = np.load("m.npy")
    np.testing.assert_allclose(np.load("e.npy"), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    status, _, err = run(capsys, "explain", "e.onnx", "mlp.npy", "-o", "no.npy", "--steps", 5, "--wrt", "x")
    assert status == 2
    assert "leave out --wrt, --steps" in err
    assert not os.path.exists("no.npy")


def test_the_seed_of_the_export_is_that_of_the_explainer(cli_folder, capsys):
    arguments = ["mlp.onnx", "--method", "SmoothGrad", "--seed", 25]
    assert run(capsys, "export", *arguments, "-o", "e.onnx")[0] == 0
    found = {}
    for name, options in {"own": [], "same": ["--seed", 25], "other": ["--seed", 0]}.items():
        assert run(capsys, "explain", "e.onnx", "mlp.npy", "-o", f"{name}.npy", *options)[0] == 0
        found[name] = np.load(f"{name}.npy")
    np.testing.assert_array_equal(found["own"], found["same"])
    assert np.abs(found["own"] - found["other"]).max() > 0.01 * np.abs(found["own"]).max()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], r"gap: [0-9.e-]+ of f\(x\) - f\(b\) in the median, at most [0-9.e-]+, in sample \d"),
        (["--steps", 2], "The maps miss much of the score: --points adaptive --tolerance 0.05 adds points"),
        (
            ["--points", "adaptive", "--tolerance", 0.02, "--max-steps", 300],
            r"at most 0\.0\d+, in sample \d(; \d+ gradients per sample in the median, at most \d+)?$",
        ),
        (["--method", "BlurIG", "--steps", 2, "-o", "maps.json"], "more --steps than 2 take more points"),
        (
            [
                "--method",
                "ExpectedGradients",
                "--nb-samples",
                1,
                "--background",
                "images.npy",
                "-o",
                "maps.json",
            ],
            "a larger --nb-samples than 1 takes more points",
        ),
        (
            ["--steps", 2, "--background", "images.npy"],
            "more --steps than 2 take more points",
        ),
        (["--quadrature", "gauss_legendre", "--steps", 30], "gap: "),
        (["--method", "Saliency"], "^wrote maps.npy$"),
    ],
)
def test_the_gap_is_told(options, words, cli_folder, capsys):
    """What the maps of a path miss of f(x) - f(b), what that took, and what narrows it where it is wide."""
    status, out, _ = run(capsys, "explain", "images.onnx", "images.npy", "-o", "maps.npy", *options)
    assert status == 0
    assert re.search(words, out.strip(), re.MULTILINE), out


@pytest.mark.parametrize(
    ("name", "options", "shown"),
    [
        ("mlp", ["--row", 2], "feature 0"),
        ("mlp", ["--sample", 2], "feature 0"),
        ("images", ["--targets", 3], "class 3, score"),
        ("images", ["--targets", "weights5.npy"], "Input"),
    ],
)
def test_a_picture_of_a_row(name, options, shown, cli_folder, capsys):
    np.save("weights5.npy", np.eye(5)[:3])
    arguments = ["explain", f"{name}.onnx", f"{name}.npy", "-o", "maps.npy", "--picture", "why.svg", *options]
    status, out, err = run(capsys, *arguments)
    assert (status, err) == (0, "")
    assert out.startswith("wrote maps.npy\nwrote why.svg\ngap: ")
    text = (cli_folder / "why.svg").read_text()
    assert f"<!-- {shown}" in text
    assert f"<!-- {name}.onnx" in text
    assert "<!-- IntegratedGradients" in text or name == "mlp"
