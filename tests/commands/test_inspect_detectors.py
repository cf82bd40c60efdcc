"""The command that ``onnxattr inspect`` tells for models of several outputs, as detectors are, works as it stands."""

import shlex

import numpy as np
import onnx
import pytest
from support.small_models import build, node, random

from onnxattr.cli import main
from onnxattr.inspection import facts


def detector(outputs):
    """Of an image of its own each output is a product that is laid out as a shape."""
    nodes, weights = [node("Flatten", ["x"], ["flat"])], {}
    for place, (name, shape) in enumerate(outputs.items()):
        sizes = [size if isinstance(size, int) else -1 for size in shape]
        weights |= {f"{name}_w": random(place, 48, abs(int(np.prod(sizes)))), f"{name}_s": np.array(sizes)}
        nodes.append(node("MatMul", ["flat", f"{name}_w"], [f"{name}_flat"]))
        nodes.append(node("Reshape", [f"{name}_flat", f"{name}_s"], [name]))
    first = "N" if "N" in next(iter(outputs.values())) else 1
    return build(nodes, {"x": [first, 3, 4, 4]}, outputs, weights)


CASES = {
    "boxes and scores": ({"boxes": [5, 4], "scores": [5]}, ["--model-output", "scores"]),
    "scores first": ({"scores": [5], "boxes": [5, 4]}, ["--model-output", "scores"]),
    "boxes and classes of the image": ({"boxes": [5, 4], "classes": [1, 3]}, ["--model-output", "classes"]),
    "boxes of each image": ({"boxes": ["N", 5, 4], "scores": ["N", 5]}, ["--model-output", "boxes", "--neuron", "0,0"]),
    "boxes alone": ({"boxes": [5, 4], "more": [5, 4]}, ["--model-output", "boxes", "--targets", "targets.npy"]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_the_command_works_as_it_stands(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    outputs, options = CASES[case]
    onnx.save(detector(outputs), "m.onnx")
    command = shlex.split(facts("m.onnx")["command"])
    assert command[4 : command.index("-o")] == options
    np.save(command[3], np.random.default_rng(0).random((1, 3, 4, 4), np.float32))
    np.save("targets.npy", np.eye(5, 4, dtype=np.float32))
    assert main(command[1:]) == 0, capsys.readouterr().err
