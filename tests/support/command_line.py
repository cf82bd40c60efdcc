"""A folder with models and arrays, and commands that run in it."""

import numpy as np
import onnx
import pytest

from onnxattr.cli import main
from support.small_models import cnn_nhwc, embedding, mlp, two_inputs

MLP, IMAGES, TWO, TOKENS = mlp(), cnn_nhwc(), two_inputs(), embedding()
PROBABILITIES = mlp(head="Softmax")


@pytest.fixture
def cli_folder(tmp_path, monkeypatch):
    """A folder with models and arrays, from which the commands run."""
    models = {"mlp": MLP, "images": IMAGES, "two": TWO, "tokens": TOKENS, "probabilities": PROBABILITIES}
    for name, case in models.items():
        onnx.save(case.model, tmp_path / f"{name}.onnx")
        if len(case.inputs) == 1:
            np.save(tmp_path / f"{name}.npy", case.given)
    np.savez(tmp_path / "two.npz", **TWO.inputs)
    np.save(tmp_path / "labels.npy", np.array([2, 0, -1]))
    np.save(tmp_path / "weights.npy", np.eye(4)[:3])
    (tmp_path / "text.npy").write_text("no array")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments):
    """Exit status, standard output and standard error of a command."""
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()
