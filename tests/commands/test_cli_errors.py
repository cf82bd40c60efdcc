"""The command line's errors: one line, a status, and nothing written."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from support.command_line import run

from onnxattr.cli import main

OUT = ["-o", "maps.npy"]
BAD = {
    "missing model": (["explain", "no.onnx", "mlp.npy", *OUT], ["no.onnx", "does not exist"]),
    "missing inputs": (["explain", "mlp.onnx", "no.npy", *OUT], ["no.npy", "not a .npy"]),
    "inputs are text": (["explain", "mlp.onnx", "text.npy", *OUT], ["text.npy", "not a .npy"]),
    "inputs of another model": (["explain", "mlp.onnx", "images.npy", *OUT], ["'x'", "(3, 8, 9, 3)", "(N, 6)"]),
    "a column too many": (["explain", "mlp.onnx", "wide.csv", *OUT], ["(2, 7)", "(N, 6)", "Leave out 1 of the"]),
    "a column of names": (
        ["explain", "mlp.onnx", "named.csv", *OUT], ["'id': 'r1' is no number", "Leave out columns", "such as an id"]
    ),
    "label out of range": (["explain", "mlp.onnx", "mlp.npy", *OUT, "--targets", 9], ["Label 9", "0 to 3"]),
    "missing targets": (["explain", "mlp.onnx", "mlp.npy", *OUT, "--targets", "no.npy"], ["no.npy"]),
    "one step": (["explain", "mlp.onnx", "mlp.npy", *OUT, "--steps", 1], ["--steps 1"]),
    "no baseline": (["explain", "mlp.onnx", "mlp.npy", *OUT, "--method", "Saliency", "--baseline-value", 1],
                    ["Saliency", "baseline_value"]),
    "picture of another kind": (["explain", "mlp.onnx", "mlp.npy", *OUT, "--picture", "why.gif"],
                                [".png, .svg or .pdf"]),
    "row beyond the last": (["explain", "mlp.onnx", "mlp.npy", *OUT, "--picture", "why.png", "--row", 3],
                            ["--row 3", "mlp.npy has samples 0 to 2"]),
    "sample beyond the last": (["explain", "mlp.onnx", "mlp.npy", *OUT, "--picture", "why.png", "--sample", 3],
                               ["--sample 3", "mlp.npy has samples 0 to 2"]),
    "seed": (["explain", "mlp.onnx", "mlp.npy", *OUT, "--seed", -1], ["--seed -1"]),
    "unknown layer": (["explain", "mlp.onnx", "mlp.npy", *OUT, "--output-layer", "top"], ["'top'", "onnxattr inspect"]),
    "layer index": (["explain", "mlp.onnx", "mlp.npy", *OUT, "--output-layer", "-2"], ["-2", "no layer table"]),
    "unknown wrt": (["export", "mlp.onnx", "--wrt", "y", "-o", "e.onnx"], ["'y'", "['x']"]),
    "integer input": (["export", "tokens.onnx", "-o", "e.onnx"], ["--wrt <name>", "embedded"]),
    "no such folder": (["export", "mlp.onnx", "-o", "nowhere/e.onnx"], ["nowhere/e.onnx", "cannot be written"]),
    "export to the standard output": (["export", "mlp.onnx", "-o", "-"], ["standard output", "./-"]),
    "maps to the standard output": (["explain", "mlp.onnx", "mlp.npy", "-o", "-"], ["standard output", "./-"]),
    "no folder for maps": (["explain", "mlp.onnx", "mlp.npy", "-o", "nowhere/m.npy"], ["nowhere/m.npy", "cannot be"]),
    "inspect a folder": (["inspect", "."], ["not a file"]),
    "inspect text": (["inspect", "text.npy"], ["text.npy", "not an ONNX model"]),
    "convert a missing file": (["convert", "no.keras"], ["no.keras"]),
    "convert ONNX to an opset": (
        ["convert", "mlp.onnx", "--units", "kg", "--opset", "9", "-o", "y.onnx"], ["--opset", "mlp.onnx is ONNX"]
    ),
    "convert layers of ONNX": (
        ["convert", "mlp.onnx", "--units", "kg", "--keep-layer", "a", "-o", "y.onnx"], ["--keep-layer", "is ONNX"]
    ),
    "convert ONNX": (["convert", "mlp.onnx"], ["mlp.onnx", "ONNX already"]),
    "convert a PyTorch file": (["convert", "net.pt2"], ["net.pt2", "run code", "onnxattr.converters.torch.to_onnx"]),
    "convert a pickle": (["convert", "net.joblib"], ["net.joblib", "run code", "onnxattr.converters.sklearn.to_onnx"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, cli_folder, capsys):
    arguments, fragments = BAD[case]
    Path("wide.csv").write_text("a,b,c,d,e,f,g\n" + "0.5,1,2,3,4,5,6\n" * 2)
    Path("named.csv").write_text("id,a,b,c,d,e,f\nr1,0.5,1,2,3,4,5\n")
    before = sorted(os.listdir())
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    message = err.splitlines()[-1]
    assert message.startswith("onnxattr: ")
    assert [part for part in fragments if part not in message] == [], message
    assert sorted(os.listdir()) == before


USAGE = {
    "no command": [],
    "unknown command": ["explode"],
    "unknown method": ["export", "mlp.onnx", "--method", "Magic", "-o", "e.onnx"],
    "no output": ["export", "mlp.onnx"],
    "steps are text": ["export", "mlp.onnx", "-o", "e.onnx", "--steps", "many"],
}


@pytest.mark.parametrize("case", USAGE)
def test_usage(case, cli_folder, capsys):
    with pytest.raises(SystemExit) as stop:
        main(USAGE[case])
    assert stop.value.code == 2
    usage, error = capsys.readouterr().err.splitlines()
    assert usage.startswith("usage: onnxattr")
    assert usage.endswith("--help lists the options")
    assert ": error: " in error


def test_warnings_are_one_line_and_the_filters_stay(cli_folder, capsys):
    show, filters = warnings.showwarning, list(warnings.filters)
    status, _, err = run(capsys, "export", "probabilities.onnx", "-o", "e.onnx")
    assert status == 0
    assert err.startswith("warning: The model ends in probabilities")
    assert len(err.splitlines()) == 1
    assert warnings.showwarning is show
    assert warnings.filters == filters


def test_installed_command(cli_folder):
    command = os.path.join(os.path.dirname(sys.executable), "onnxattr")
    arguments = [command, "explain", "mlp.onnx", "mlp.npy", "-o", "maps.npy", "--targets", "labels.npy"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("wrote maps.npy\ngap: ")
    assert np.load("maps.npy").shape == (3, 6)
    done = subprocess.run([command, "inspect", "no.onnx"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("onnxattr: no.onnx does not exist")
