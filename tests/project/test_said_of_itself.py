"""What the package says of itself: its version, the help of its commands, and the repr of what it makes."""

import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest

import onnxattr
from models import digits
from onnxattr import GradCAM, IntegratedGradients, NoiseTunnel, Saliency, SmoothGrad
from onnxattr.cli import _parser, main

MODEL = str(digits.ONNX_FILE)
pytestmark = pytest.mark.filterwarnings("ignore:The model ends in probabilities")


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert (stopped.value.code, capsys.readouterr().out) == (0, f"onnxattr {metadata.version('onnxattr')}\n")
    assert onnxattr.__version__ == metadata.version("onnxattr")
    told = subprocess.run([sys.executable, "-m", "onnxattr", "--version"], capture_output=True, text=True)
    assert (told.returncode, told.stdout) == (0, f"onnxattr {onnxattr.__version__}\n")


@pytest.mark.parametrize("command", ["convert", "inspect", "explain", "evaluate", "export", "ops"])
def test_help_has_examples(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    examples = [line.strip() for line in capsys.readouterr().out.split("examples:\n")[1].splitlines()]
    assert examples
    for line in examples:
        assert line.startswith(f"onnxattr {command}")
        assert callable(_parser().parse_args(line.split()[1:]).run)


BASELINE = np.zeros((28, 28, 1))
REPR = [
    (Saliency, {}, f"Saliency({MODEL!r})"),
    (SmoothGrad, {"nb_samples": 5, "seed": 3}, f"SmoothGrad({MODEL!r}, nb_samples=5, noise=0.2, seed=3)"),
    (
        IntegratedGradients,
        {"output_layer": -2, "points": "adaptive", "reducer": None},
        f"IntegratedGradients({MODEL!r}, output_layer=-2, reducer=None, steps=50, baseline_value=0.0, "
        "points='adaptive')",
    ),
    (
        IntegratedGradients,
        {"baseline_value": BASELINE},
        f"IntegratedGradients({MODEL!r}, steps=50, baseline_value=<array (28, 28, 1) float64>)",
    ),
]


@pytest.mark.parametrize(("method", "parameters", "text"), REPR)
def test_repr_of_methods(method, parameters, text):
    assert repr(method(MODEL, **parameters)) == text


def test_repr_of_what_a_method_makes(tmp_path):
    method = NoiseTunnel(GradCAM(digits.ONNX_FILE.read_bytes(), output_layer="logits"), 4)
    inner = "GradCAM(<model 'digits'>, output_layer='logits', conv_layer=None, upsampling='bicubic')"
    assert (
        repr(method)
        == f"NoiseTunnel({inner}, nb_samples=4, noise=0.2, kind='mean', noise_kind='absolute', seed=0)"
    )
    method.export(tmp_path / "e.onnx")
    explainer = onnxattr.load(tmp_path / "e.onnx")
    told = repr(explainer)
    assert told.startswith(
        f"Explainer({str(tmp_path / 'e.onnx')!r}, NoiseTunnel(method=GradCAM(output_layer='logits'"
    )
    assert told.endswith("seed=0)")
    assert "method=GradCAM(output_layer='logits'" in repr(explainer(np.zeros((1, 28, 28, 1), np.float32)))
    found = repr(IntegratedGradients(MODEL, output_layer=-2, steps=4)(np.ones((1, 28, 28, 1), np.float32)))
    assert f"by IntegratedGradients({MODEL!r}, output_layer=-2" in found
    assert "steps=4" in found
