"""Names that are written to: odd ones, long ones, links, FIFOs, devices and standard output."""

import os
import shlex
import stat
import subprocess
import sys
import threading

import numpy as np
import onnx
import pytest
from support.small_models import build, node
from support.written_files import MLP, X, contents, save_external, writers

from onnxattr import files
from onnxattr.attributions import Saliency
from onnxattr.cli import main
from onnxattr.errors import ParameterError
from onnxattr.results.writing import write_npz

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links, FIFOs and signals of Unix")


@pytest.mark.parametrize("writer", ["export", "beside", "command"])
@pytest.mark.parametrize(
    "name", ["", "empty", "nowhere/e", "m.onnx/e", "e/", "n" * 300, "a\0b", "loop", "/proc/e", "sealed"]
)
def test_names_that_cannot_be_written(name, writer, mlp_folder):
    (mlp_folder / "loop").symlink_to("loop")
    (mlp_folder / "sealed").write_bytes(b"")
    (mlp_folder / "sealed").chmod(0o444)
    if name == "sealed" and os.access("sealed", os.W_OK):
        pytest.skip("root writes read-only files")
    if (name, writer) == ("e/", "command"):  # the name of a folder, which a job makes and writes into
        writers()[writer](name)
        assert "m.npy" in os.listdir("e")
        return
    before = contents()
    with pytest.raises(ParameterError):
        writers()[writer](name)
    assert contents() == before


@pytest.mark.parametrize(("writer", "suffix"), [("export", ""), ("picture", ".png"), ("command", ".npy")])
@pytest.mark.parametrize("length", [250, 255])
def test_the_longest_names(length, writer, suffix, mlp_folder):
    name = "n" * (length - len(suffix)) + suffix
    writers()[writer](name)
    assert os.path.getsize(name) > 50
    assert sorted(os.listdir()) == sorted(["m.onnx", "m.npy", "empty", name])


def test_a_name_that_is_too_long_for_its_data(mlp_folder):
    with pytest.raises(ParameterError, match="too long"):
        writers()["beside"]("n" * 253)
    assert sorted(os.listdir()) == ["empty", "m.npy", "m.onnx"]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".json", ".html", ".png"])
def test_names_that_are_no_text(suffix, tmp_path, monkeypatch, capsys):
    """Bytes that are not UTF-8, in the names of the model, its folder, the rows and what is written."""
    (tmp_path / "plain").mkdir()
    weights = save_external(tmp_path / "plain/model.onnx", "model.bin")
    folder = (tmp_path / "plain").rename(tmp_path / os.fsdecode(b"m\xff"))
    monkeypatch.chdir(folder)
    model, rows, out = (os.fsdecode(name) for name in (b"e\xff.onnx", b"x\xff.npy", b"o\xff"))
    np.save(rows, X)
    assert main(["export", "model.onnx", "--method", "GradientInput", "-o", model]) == 0
    for weights_of in (model, "model.onnx"):
        options = ["--targets", "3"] + ["--method", "GradientInput"] * (weights_of != model)
        assert main(["explain", weights_of, rows, "-o", out + suffix, *options]) == 0
        assert os.path.getsize(out + suffix) > 50
        if suffix == ".npy":
            np.testing.assert_allclose(np.load(out + suffix), X * weights[:, 3], rtol=1e-5, atol=1e-6)
    assert main(["export", "model.onnx", "--weights", "beside", "-o", model]) == 2
    assert "not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["file", "allow_pickle", "args"])
@pytest.mark.parametrize("of_each", [False, True])
def test_explained_values_of_any_name_are_in_the_archive(name, of_each, tmp_path, monkeypatch):
    """numpy.savez has parameters of the first two names: it refuses one and leaves the other out."""
    monkeypatch.chdir(tmp_path)
    nodes = [node("Mul", [name, "z"], ["y"])]
    onnx.save(build(nodes, {name: ["N", 4], "z": ["N", 4]}, {"y": ["N", 4]}), "m.onnx")
    rows = {name: np.full((2, 4), 2, np.float32), "z": np.full((2, 4), 3, np.float32)}
    with open("rows.npz", "wb") as file:
        write_npz(file, rows)
    for place, array in enumerate(rows.values()):
        np.save(f"{place}.npy", array)
    given = [f"{name}=0.npy", "z=1.npy", "--picture", "why.png"] if of_each else ["rows.npz"]
    wanted = ["--method", "GradientInput", "--wrt", name, "--wrt", "z", "--targets", "1"]
    assert main(["explain", "m.onnx", *given, *wanted, "-o", "maps.npz"]) == 0
    found = np.load("maps.npz")
    assert found.files == [name, "z"]
    for value in found.files:
        np.testing.assert_array_equal(found[value], [[0, 6, 0, 0]] * 2)


@pytest.mark.parametrize(
    ("writer", "suffix"), [("export", ".onnx"), ("picture", ".png"), ("command", ".npy")]
)
def test_links_are_written_through(writer, suffix, mlp_folder):
    (mlp_folder / f"target{suffix}").write_bytes(b"old")
    (mlp_folder / f"target{suffix}").chmod(0o640)
    (mlp_folder / f"link{suffix}").symlink_to(f"target{suffix}")
    (mlp_folder / f"new{suffix}").symlink_to(f"empty/made{suffix}")
    for link, target in ((f"link{suffix}", f"target{suffix}"), (f"new{suffix}", f"empty/made{suffix}")):
        writers()[writer](link)
        assert os.readlink(link) == target
        assert os.path.getsize(target) > 50
    assert stat.S_IMODE(os.stat(f"target{suffix}").st_mode) == 0o640
    old = os.umask(0o27)
    os.umask(old)
    assert stat.S_IMODE(os.stat(f"empty/made{suffix}").st_mode) == 0o666 & ~old
    assert os.listdir("empty") == [f"made{suffix}"]


def test_weights_beside_a_link_into_another_folder_are_refused(mlp_folder):
    """A runtime looks for data beside the name that it opens."""
    (mlp_folder / "link.onnx").symlink_to("empty/made.onnx")
    with pytest.raises(ParameterError, match=r"a link into another folder.*weights='inside'"):
        writers()["beside"]("link.onnx")
    assert os.listdir("empty") == []


@pytest.mark.parametrize(("writer", "suffix"), [("export", ""), ("picture", ".png"), ("command", "")])
def test_a_fifo_gets_what_a_file_would(writer, suffix, mlp_folder):
    writers()[writer](f"file{suffix}")
    os.mkfifo(f"fifo{suffix}")
    got = []
    reader = threading.Thread(target=lambda: got.append(files.Path(f"fifo{suffix}").read_bytes()))
    reader.start()
    writers()[writer](f"fifo{suffix}")
    reader.join(timeout=20)
    assert len(got[0]) == os.path.getsize(f"file{suffix}")
    assert stat.S_ISFIFO(os.stat(f"fifo{suffix}").st_mode)


def test_a_fifo_that_nothing_reads_from_does_not_hang(mlp_folder, monkeypatch):
    monkeypatch.setattr(files, "_PATIENCE", 0.2)
    os.mkfifo("fifo")
    with pytest.raises(ParameterError, match="nothing has read from this FIFO"):
        writers()["export"]("fifo")


def test_devices_are_written_to(mlp_folder):
    before = os.stat("/dev/null")
    writers()["export"]("/dev/null")
    writers()["command"]("/dev/null")
    assert os.stat("/dev/null").st_mode == before.st_mode
    with pytest.raises(ParameterError, match="No space left"):
        writers()["export"]("/dev/full")
    with pytest.raises(ParameterError, match="device"):
        writers()["beside"]("/dev/null")
    assert sorted(os.listdir()) == ["empty", "m.npy", "m.onnx"]


CLI = [sys.executable, "-c", "import sys; from onnxattr.cli import main; sys.exit(main(sys.argv[1:]))"]


@pytest.mark.parametrize("through", ["pipe", "file"])
def test_standard_output_holds_the_file_alone(through, mlp_folder):
    arguments = [*CLI, "explain", "m.onnx", "m.npy", "-o", "/dev/stdout", "--method", "Saliency"]
    if through == "pipe":
        done = subprocess.run(arguments, capture_output=True, check=True)
        (mlp_folder / "maps.npy").write_bytes(done.stdout)
    else:
        with open("maps.npy", "wb") as file:
            done = subprocess.run(arguments, stdout=file, stderr=subprocess.PIPE, check=True)
    assert done.stderr == b"wrote /dev/stdout\n"
    np.testing.assert_array_equal(np.load("maps.npy"), Saliency(MLP.model).explain(MLP.given))
    expected = files.Path("maps.npy").stat().st_size
    np.save("again.npy", Saliency(MLP.model).explain(MLP.given))
    assert os.path.getsize("again.npy") == expected


def test_a_terminal_that_takes_nothing_more_is_one_line(mlp_folder):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*CLI, "inspect", "m.onnx"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "onnxattr: the output cannot be written: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_outputs_that_a_service_has_closed(closed, mlp_folder):
    for arguments, status in ((["-o", "c.npy"], 0), (["--targets", "9"], 2)):
        command = [*CLI, "explain", "m.onnx", "m.npy", "--method", "Saliency", *arguments]
        done = subprocess.run(f"{shlex.join(command)} {closed}", shell=True, capture_output=True, text=True)
        assert done.returncode == status
        assert "defect" not in done.stderr
    np.testing.assert_array_equal(np.load("c.npy"), Saliency(MLP.model).explain(MLP.given))
