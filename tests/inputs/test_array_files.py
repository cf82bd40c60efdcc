"""Files of arrays that are damaged, are no files or hold odd kinds of numbers: one clear error, and nothing written."""

import importlib
import os
import sys
import zipfile

import numpy as np
import onnx
import pytest
from support.small_models import build, node
from support.written_files import contents

from onnxattr import files
from onnxattr.cli import main
from onnxattr.errors import ShapeError
from onnxattr.inputs import array_files
from onnxattr.loading.checks import memory

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links, FIFOs and signals of Unix")


def damaged_arrays():
    """Content by name: everything but an array of numbers."""
    np.save("whole.npy", np.ones((3, 6), np.float32))
    whole = files.Path("whole.npy").read_bytes()
    np.savez_compressed("whole.npz", x=np.ones((3, 6), np.float32))
    archive = files.Path("whole.npz").read_bytes()
    np.save("objects.npy", np.array([{"a": 1}, print], dtype=object), allow_pickle=True)
    huge = whole.replace(b"(3, 6)", b"(%d,)" % 2**50)
    with zipfile.ZipFile("lie.npz", "w") as lie:
        lie.writestr("x.npy", b"no array")
        lie.writestr("__import__('os')", b"")
    with zipfile.ZipFile("names.npz", "w") as names:
        names.writestr("x", whole)
        names.writestr("x.npy", whole)
    return {
        "nothing": b"", "text": b"1,2,3", "cut": whole[:-5], "no header": whole[:9], "half a header": whole[:40],
        "pickle": files.Path("objects.npy").read_bytes(), "bare pickle": b"cos\nsystem\n(S'touch acted'\ntR.",
        "shape of 2**50": huge, "rows of no numbers": whole.replace(b"(3, 6)", b"(%d, 0)" % 2**40),
        "a shape of words": whole.replace(b"(3, 6)", b"('a',)"),
        "code for a shape": whole.replace(b"(3, 6), }", b"exit(), }"), "version 9": b"\x93NUMPY\x09" + whole[7:],
        "cut archive": archive[:-30], "flipped archive": archive[:60] + b"\xff\xff" + archive[62:],
        "archive of no arrays": files.Path("lie.npz").read_bytes(),
        "two arrays of one name": files.Path("names.npz").read_bytes(),
        "bad text": b"\x93NUMPY\x01\x00\x05\x00\xff\xfe\xff\n",
    }  # fmt: skip


DAMAGED = [
    "nothing", "text", "cut", "no header", "half a header", "pickle", "bare pickle", "shape of 2**50",
    "rows of no numbers", "a shape of words", "code for a shape", "version 9", "cut archive", "flipped archive",
    "archive of no arrays", "two arrays of one name", "bad text",
]  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_arrays_are_one_clear_error(case, mlp_folder, capsys):
    (mlp_folder / "x.npy").write_bytes(damaged_arrays()[case])
    with pytest.raises(ShapeError, match=r"x\.npy is not a \.npy file"):
        array_files.read_arrays("x.npy")
    for arguments in (["m.onnx", "x.npy"], ["m.onnx", "m.npy", "--targets", "x.npy"]):
        assert main(["explain", *arguments, "-o", "maps.npy"]) == 2
        shown = capsys.readouterr().err
        assert len(shown.splitlines()) == 1
        assert "x.npy is not a .npy file" in shown
    assert not os.path.exists("maps.npy")
    assert not os.path.exists("acted")


def test_arrays_have_the_names_of_the_archive(tmp_path):
    """NumPy's own reader gives the first of these twice."""
    np.savez(tmp_path / "a.npz", **{"x": np.zeros(2), "x.npy": np.ones(2)})
    found = array_files.read_arrays(tmp_path / "a.npz")
    assert {name: array.tolist() for name, array in found.items()} == {"x": [0, 0], "x.npy": [1, 1]}


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.parquet"])
def test_rows_that_no_memory_holds(name, mlp_folder, monkeypatch):
    """Zeros, which take few bytes in a compressed file."""
    rows = np.zeros((1000, 6), np.float32)
    if name.endswith(".parquet"):
        pa = pytest.importorskip("pyarrow", reason="PyArrow is not installed")
        table = pa.table({f"f{k}": rows[:, k] for k in range(6)})
        importlib.import_module("pyarrow.parquet").write_table(table, name)
    else:
        np.save(name, rows) if name == "x.npy" else np.savez_compressed(name, x=rows)
    found = array_files.read_arrays(name)
    assert np.asarray(found["x"] if name == "x.npz" else found).shape == (1000, 6)
    monkeypatch.setattr(memory, "memory", lambda: 20_000)
    with pytest.raises(
        ShapeError, match=rf"{name}.*it needs 24\d\d\d bytes of memory, and this machine has 20000 bytes"
    ):
        array_files.read_arrays(name)


PLACES = {
    "x.npy": ["x.npy"], "x.csv": ["x.csv"], "x.parquet": ["x.parquet"], "x.wav": ["x.wav"],
    "names.txt": ["m.npy", "--labels", "names.txt"], "names.json": ["m.npy", "--labels", "names.json"],
    "p.json": ["m.npy", "--preprocess", "p.json"], "words.json": ["m.npy", "--vocabulary", "words.json"],
    "b.parquet": ["m.npy", "--baseline-value", "b.parquet"],
}  # fmt: skip


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda name: os.symlink("/dev/zero", name)])
@pytest.mark.parametrize("name", PLACES)
def test_inputs_that_are_no_files(name, make, mlp_folder, capsys):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="PyArrow is not installed")
    make(name)
    assert main(["explain", "m.onnx", *PLACES[name], "-o", "maps.npy"]) == 2
    assert "there is no such file" in capsys.readouterr().err


ODD = {
    "scalar": np.float32(3), "no arrays": {}, "records": np.zeros(3, [("a", "f4")]), "dates": np.zeros(3, "M8[s]"),
}  # fmt: skip
OPTIONS = [[], ["--targets", "1"], ["--picture", "why.png"]]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("case", ODD)
def test_arrays_of_odd_kinds(case, options, mlp_folder, capsys):
    (np.savez if case == "no arrays" else np.save)("x", *([] if case == "no arrays" else [ODD[case]]))
    name = "x.npz" if case == "no arrays" else "x.npy"
    assert main(["explain", "m.onnx", name, "-o", "maps.npy", *options]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("number", ["--5", "²", "9" * 30, "9" * 5000, "-"])
@pytest.mark.parametrize("option", ["--targets", "--output-layer"])
def test_numbers_that_are_none(option, number, mlp_folder, capsys):
    assert main(["explain", "m.onnx", "m.npy", "-o", "maps.npy", f"{option}={number}"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--triton", ""], ["--triton", "m.npy"], ["-o", ""]])
def test_empty_and_taken_names(arguments, mlp_folder, capsys):
    before = contents()
    assert main(["export", "m.onnx", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert contents() == before


def test_names_of_a_model_do_not_reach_the_terminal_raw(mlp_folder, capsys):
    """Escape sequences could rewrite what is on the screen."""
    nodes = [node("Tanh", ["x\x1b[2J\r"], ["h"]), node("Sin", ["h"], ["y\n\x07"])]
    onnx.save(build(nodes, {"x\x1b[2J\r": ["N", 4]}, {"y\n\x07": ["N", 4]}), "odd.onnx")
    assert main(["inspect", "odd.onnx"]) == 0
    assert main(["explain", "odd.onnx", "m.npy", "-o", "maps.npy"]) == 2
    shown = "".join(capsys.readouterr())
    assert "x\\x1b[2J\\r" in shown
    assert all(c.isprintable() or c == "\n" for c in shown)
