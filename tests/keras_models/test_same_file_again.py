"""A Keras model becomes the same bytes each time: in another process, and after other models."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

keras = pytest.importorskip("keras")
import zoo  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402

L = keras.layers


def series(*layers):
    return keras.Sequential([keras.Input((None, 3)), *layers])


#: What was named by addresses in memory (an Einsum), numbered on from model to model as the functions of loops, or
#: taken in the order of a set.
MODELS = {
    **{name: zoo.CASES[name].model for name in ("attention layers", "two inputs")},
    "loop": lambda: series(L.LSTM(4, activation="softplus"), L.Dense(2)),
    "loop of several cells": lambda: series(L.RNN([L.GRUCell(3), L.SimpleRNNCell(4, activation="selu")])),
    "loop over images": lambda: keras.Sequential([keras.Input((None, 6, 2)), L.ConvLSTM1D(2, 3)]),
}

#: What one process converts.
LARGE = {"vision transformer": zoo.CASES["vision transformer"].model}
ROUNDS = {"small": MODELS, "large": LARGE}

CONVERT = """
import sys
from onnxattr.converters.keras import to_onnx
for path in sys.argv[1:]:
    to_onnx(path, path + ".other.onnx", verify=False)
"""


@pytest.fixture(scope="module")
def files(request, tmp_path_factory):
    """Keras files by name, each converted beside it in a process of its own, where hashes differ."""
    folder, models = tmp_path_factory.mktemp("files"), ROUNDS[request.param]
    paths = {name: folder / f"{name.replace(' ', '_')}.keras" for name in models}
    for name, path in paths.items():
        models[name]().save(path)
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    subprocess.run(
        [sys.executable, "-c", CONVERT, *reversed(paths.values())],
        check=True,
        env=os.environ | {"PYTHONHASHSEED": seed},
        cwd=Path(__file__).parents[2],
    )
    return paths


@pytest.mark.parametrize(
    ("files", "name"),
    [
        *(("small", name) for name in MODELS),
        *(pytest.param("large", name, marks=pytest.mark.slow) for name in LARGE),
    ],
    indirect=["files"],
    scope="module",
)
def test_same_bytes(files, name):
    other = Path(f"{files[name]}.other.onnx").read_bytes()
    for _ in range(2):
        assert to_onnx(files[name], verify=False).SerializeToString() == other
