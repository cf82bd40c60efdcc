"""The files of explanations: every bit comes back, damaged ones are refused, nothing in them is run."""

import contextlib
import dataclasses
import json
import os
import zipfile

import numpy as np
import pytest
from support.results import X, explanation, rich, same

from onnxattr import Explanation
from onnxattr.errors import ParameterError
from onnxattr.results.writing import write


@pytest.fixture(scope="module")
def explained():
    return explanation()


def test_a_file_has_every_bit(tmp_path, explained):
    given = rich()
    given.save(tmp_path / "e.npz")
    found = Explanation.load(tmp_path / "e.npz")
    same(given, found)
    assert found.parameters["steps"] == 50
    assert found.parameters["baseline_value"] == [0.0, 1.0, 2.0]
    tokens = explained.named(tokens=[["a", "b"], ["c"], ["<d>", "e", "f"]])
    tokens.save(tmp_path / "t.npz", inputs=False)
    again = Explanation.load(tmp_path / "t.npz")
    assert again.tokens == tokens.tokens
    assert again.inputs == {}
    np.testing.assert_array_equal(again.numpy(), explained.numpy())
    with np.load(tmp_path / "e.npz", allow_pickle=False) as arrays:
        assert json.loads(arrays["about"].tobytes())["version"] == 1


def changed(arrays: dict, **about) -> dict:
    told = json.loads(arrays["about"].tobytes()) | about
    return arrays | {"about": np.frombuffer(json.dumps(told).encode(), np.uint8)}


DAMAGES = {
    "another array": lambda a: {"x": a["scores"]},
    "no scores": lambda a: {name: array for name, array in a.items() if name != "scores"},
    "fewer targets": lambda a: a | {"targets": a["targets"][:2]},
    "a pickle": lambda a: a | {"scores": np.array([print, 1, 2], object)},
    "text in place of numbers": lambda a: a | {"scores": np.array(["a", "b", "c"])},
    "about is no json": lambda a: a | {"about": np.frombuffer(b"{", np.uint8)},
    "about is deep": lambda a: a | {"about": np.frombuffer(b"[" * 100000, np.uint8)},
    "about is a list": lambda a: a | {"about": np.frombuffer(b"[1]", np.uint8)},
    "a version that is text": lambda a: changed(a, version="1"),
    "a method that is a number": lambda a: changed(a, method=3),
    "names that are numbers": lambda a: changed(a, target_names=[1, 2, 3]),
    "axes that are text": lambda a: changed(a, axes="abc"),
    "attributions that are not there": lambda a: changed(a, attributions=["a", "b", "c"]),
    "a number that is no half": lambda a: changed(a, bfloat16=["scores"]),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_files_are_refused(damage, tmp_path):
    rich().save(tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz") as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    np.savez(tmp_path / "d.npz", **damage(arrays))
    with pytest.raises(ParameterError, match=r"d\.npz cannot be read as an explanation: .*Explanation\.save"):
        Explanation.load(tmp_path / "d.npz")


class Acts:
    """What makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("entry", ["scores", "about", "more"])
def test_opening_a_file_runs_nothing(entry, tmp_path):
    rich().save(tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz") as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    np.savez(tmp_path / "d.npz", **arrays | {entry: np.array([Acts(tmp_path / "made")], object)})
    with pytest.raises(ParameterError, match="cannot be read"):
        Explanation.load(tmp_path / "d.npz")
    assert not (tmp_path / "made").exists()


def test_files_that_end_early_are_something_else_or_come_later(tmp_path):
    rich().save(tmp_path / "e.npz")
    whole = (tmp_path / "e.npz").read_bytes()
    for size in (0, 1, 30, len(whole) // 2, len(whole) - 1):
        (tmp_path / "d.npz").write_bytes(whole[:size])
        with pytest.raises(ParameterError, match="cannot be read"):
            Explanation.load(tmp_path / "d.npz")
    for place in range(0, len(whole), 97):  # a flipped byte is found, or is in what means nothing
        flipped = bytearray(whole)
        flipped[place] ^= 0x55
        (tmp_path / "d.npz").write_bytes(flipped)
        with contextlib.suppress(ParameterError):
            Explanation.load(tmp_path / "d.npz")
    np.save(tmp_path / "a.npy", X)
    for path in (tmp_path / "a.npy", tmp_path / "none.npz", tmp_path):
        with pytest.raises(ParameterError, match="cannot be read"):
            Explanation.load(path)
    with np.load(tmp_path / "e.npz") as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    np.savez(tmp_path / "later.npz", **changed(arrays, version=2))
    with pytest.raises(ParameterError, match=r"later version.*format 2"):
        Explanation.load(tmp_path / "later.npz")
    np.savez_compressed(tmp_path / "bomb.npz", **arrays | {"scores": np.zeros(10**6)})
    with pytest.raises(ParameterError, match="compressed"):
        Explanation.load(tmp_path / "bomb.npz")
    with pytest.raises(ParameterError, match=r"\.npz"):
        rich().save(tmp_path / "e.pkl")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    (tmp_path / "e.npz").write_bytes(b"old")
    (tmp_path / "e.npz").chmod(0o444)
    with pytest.raises(ParameterError, match="no folder"):
        rich().save(tmp_path / "none" / "e.npz")
    assert zipfile.is_zipfile(tmp_path / "e.npz") is False


TWICE = {
    "of a score": (("a", "score", "b"), "score"),
    "of a target": (("target", "a", "b"), "target"),
    "of a gap": (("a", "b", "gap"), "gap"),
    "of another": (("a", "b", "a"), "a"),
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("case", TWICE)
def test_no_table_has_two_columns_of_one_name(case, suffix, tmp_path, explained):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    columns, name = TWICE[case]
    found = dataclasses.replace(explained, features={"x": columns}, targets=np.array([0, 1, 0]))
    with pytest.raises(ParameterError, match=f"would be two columns '{name}'; rename"):
        write([found], tmp_path / f"maps{suffix}")
    assert not any(tmp_path.iterdir())
