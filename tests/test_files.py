"""What is written is whole or not there, goes through links and devices, and is never a file that is being read."""

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import onnx
import pytest
from support.small_models import build, mlp, node

import onnxattr
from onnxattr import files, plots
from onnxattr.attributions import GradientInput, IntegratedGradients, NoiseTunnel, Saliency
from onnxattr.attributions.triton import export_triton
from onnxattr.cli import main
from onnxattr.errors import OnnxAttrError, ParameterError, ShapeError
from onnxattr.inputs import array_files

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links, FIFOs and signals of Unix")
MLP = mlp()
SIZE = 60
X = np.random.default_rng(1).normal(size=(2, SIZE)).astype(np.float32)


def wide(seed=0):
    """y = x W with 14,400 bytes of weights, and W."""
    weights = np.random.default_rng(seed).normal(size=(SIZE, SIZE)).astype(np.float32)
    return build(
        [node("MatMul", ["x", "w"], ["y"])], {"x": ["N", SIZE]}, {"y": ["N", SIZE]}, {"w": weights}
    ), weights


def score_model():
    """A score: the sum of the output times the target."""
    nodes = [node("Mul", ["f", "t"], ["p"]), node("ReduceSum", ["p", "axes"], ["s"], keepdims=0)]
    inputs = {"f": ["N", SIZE], "t": ["N", SIZE]}
    return build(nodes, inputs, {"s": ["N"]}, {"axes": np.array([1])})


def save_external(path, location, seed=0):
    model, weights = wide(seed)
    onnx.save(model, path, save_as_external_data=True, location=location, size_threshold=0)
    return weights


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a model, whose data is external, and rows to explain, in which the commands run."""
    save_external(tmp_path / "model.onnx", "model.bin")
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "labels.npy", np.array([0, 1]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents():
    return {p: p.read_bytes() for p in sorted(files.Path().rglob("*")) if p.is_file()}


# What is being read ----------------------------------------------------------------------------------------------
COMMANDS = {
    "explain": ["explain", "model.onnx", "x.npy", "--targets", "labels.npy", "-o"],
    "picture": ["explain", "model.onnx", "x.npy", "-o", "maps.npy", "--targets", "labels.npy", "--picture"],
    "export": ["export", "model.onnx", "-o"],
    "beside": ["export", "model.onnx", "--weights", "beside", "-o"],
    "baseline": ["explain", "model.onnx", "x.npy", "--baseline-value", "row.npy", "-o"],
    "background": ["explain", "model.onnx", "x.npy", "--background", "x2.npy", "-o"],
    "groups": ["explain", "model.onnx", "x.npy", "--feature-mask", "mask.npy", "-o"],
    "names": ["explain", "model.onnx", "x.npy", "--labels", "names.json", "-o"],
    "evaluated names": ["evaluate", "model.onnx", "x.npy", "--labels", "names.json", "-o"],
    "exported score": ["export", "model.onnx", "--operator", "score.onnx", "-o"],
    "exported start": ["export", "model.onnx", "--baseline-value", "row.npy", "-o"],
}
READ = {
    "explain": ["model.onnx", "model.bin", "x.npy", "labels.npy"],
    "picture": ["model.onnx", "model.bin", "x.npy", "labels.npy", "maps.npy"],
    "export": ["model.onnx", "model.bin"],
    "beside": ["model.onnx", "model.bin"],
    "baseline": ["row.npy"],
    "background": ["x2.npy"],
    "groups": ["mask.npy"],
    "names": ["names.json"],
    "evaluated names": ["names.json"],
    "exported score": ["score.onnx"],
    "exported start": ["row.npy"],
}
NAMES = {
    "its name": lambda name, _: name,
    "another path": lambda name, _: f"../{os.path.basename(os.getcwd())}/./{name}",
    "a link": lambda name, suffix: os.symlink(name, f"link{suffix}") or f"link{suffix}",
    "a hard link": lambda name, suffix: os.link(name, f"hard{suffix}") or f"hard{suffix}",
}


@pytest.mark.parametrize("way", NAMES)
@pytest.mark.parametrize(("command", "name"), [(c, n) for c, names in READ.items() for n in names])
def test_what_is_read_is_not_written(command, name, way, folder, capsys, monkeypatch):
    if command == "picture" and name == "maps.npy":
        (folder / "maps.npy").write_bytes(b"old")
        if way == "a hard link":
            pytest.skip("two outputs that are two names of one file take nothing from what is read")
    np.save("row.npy", np.zeros(SIZE, np.float32))
    np.save("x2.npy", np.zeros((2, SIZE), np.float32))
    np.save("mask.npy", np.arange(SIZE) % 2)
    (folder / "names.json").write_text(json.dumps([f"class {k}" for k in range(SIZE)]))
    onnx.save(score_model(), "score.onnx")
    suffix = {"picture": ".png", "names": ".json", "evaluated names": ".json"}.get(command, ".x")
    output = NAMES[way](name, suffix)
    before = contents()
    # Before any work: no session is ever made.
    monkeypatch.setattr("onnxattr.session.Session.run", lambda *_: pytest.fail("ran before the refusal"))
    assert main([*COMMANDS[command], output]) == 2
    shown = capsys.readouterr().err
    assert "Give" in shown or "ends in .png" in shown
    assert contents() == before


@pytest.mark.parametrize("name", ["model.onnx", "model.bin"])
def test_methods_refuse_as_the_command_line_does(name, folder):
    (folder / "dir/1").mkdir(parents=True)
    os.link(name, "dir/1/model.onnx")
    before = contents()
    with pytest.raises(ParameterError, match="is a file that is being read"):
        Saliency("model.onnx").export(name)
    with pytest.raises(ParameterError, match="is a file that is being read"):
        export_triton(Saliency("model.onnx"), "dir")
    assert contents() == before


def test_methods_do_not_write_over_the_file_of_their_score(folder):
    (folder / "dir").mkdir()
    onnx.save(score_model(), "dir/Saliency.onnx")
    before = contents()
    method = Saliency("model.onnx", operator="dir/Saliency.onnx")
    for write in (
        lambda: method.export("dir/Saliency.onnx"),
        lambda: NoiseTunnel(method).export("dir/Saliency.onnx"),
        lambda: onnxattr.export([method], "dir"),
    ):
        with pytest.raises(ParameterError, match="is a file that is being read"):
            write()
    assert contents() == before


def test_weights_beside_leave_the_models_own_data_alone(tmp_path):
    """Also where the model's data has just the name that the explainer's would get."""
    weights = save_external(tmp_path / "model.onnx", "e.onnx.data")
    before = (tmp_path / "e.onnx.data").read_bytes()
    method = GradientInput(tmp_path / "model.onnx")
    method.export(tmp_path / "e.onnx", weights="beside")
    expected = X * weights[:, [3, 5]].T
    for other in (method, GradientInput(tmp_path / "model.onnx"), onnxattr.load(tmp_path / "e.onnx")):
        np.testing.assert_allclose(other.explain(X, [3, 5]), expected, rtol=1e-5, atol=1e-6)
    assert (tmp_path / "e.onnx.data").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["e.onnx", "e.onnx.1.data", "e.onnx.data", "model.onnx"]


def test_an_export_that_is_replaced_takes_its_own_data_with_it(tmp_path):
    """The old file reads its own data until the new one has its name; data of anyone else stays."""
    path = tmp_path / "e.onnx"
    seen = []
    for seed in (0, 1, 2):
        model, weights = wide(seed)
        GradientInput(model).export(path, weights="beside")
        found = onnxattr.load(path).explain(X, [3, 5])
        np.testing.assert_allclose(found, X * weights[:, [3, 5]].T, rtol=1e-5, atol=1e-6)
        seen.append(sorted(set(os.listdir(tmp_path)) - {"e.onnx"}))
    assert seen == [["e.onnx.data"], ["e.onnx.1.data"], ["e.onnx.data"]]
    # A model that merely says that another file is its own does not get it deleted.
    (tmp_path / "precious").write_bytes(b"kept")
    hostile = onnx.load(path, load_external_data=False)
    for entry in hostile.metadata_props:
        entry.value = "precious" if entry.key == "onnxattr.data" else entry.value
    path.write_bytes(hostile.SerializeToString())
    GradientInput(wide()[0]).export(path, weights="beside")
    assert (tmp_path / "precious").read_bytes() == b"kept"


# Names -----------------------------------------------------------------------------------------------------------
def writers():
    """Everything that writes a file, by name: each takes a path."""
    method, maps = Saliency(MLP.model), np.ones((3, 4), np.float32)
    return {
        "export": method.export,
        "beside": lambda path: Saliency(wide()[0]).export(path, weights="beside"),
        "picture": lambda path: plots.tabular(list("abcd"), maps[0], title="", path=path),
        "command": lambda path: command("explain", "m.onnx", "m.npy", "-o", path),
    }


def command(*arguments):
    if main([str(argument) for argument in arguments]):
        raise ParameterError("the command failed")


@pytest.fixture
def small(tmp_path, monkeypatch):
    onnx.save(MLP.model, tmp_path / "m.onnx")
    np.save(tmp_path / "m.npy", MLP.given)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("writer", ["export", "beside", "command"])
@pytest.mark.parametrize(
    "name", ["", "empty", "nowhere/e", "m.onnx/e", "e/", "n" * 300, "a\0b", "loop", "/proc/e", "sealed"]
)
def test_names_that_cannot_be_written(name, writer, small):
    (small / "loop").symlink_to("loop")
    (small / "sealed").write_bytes(b"")
    (small / "sealed").chmod(0o444)
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
def test_the_longest_names(length, writer, suffix, small):
    name = "n" * (length - len(suffix)) + suffix
    writers()[writer](name)
    assert os.path.getsize(name) > 50
    assert sorted(os.listdir()) == sorted(["m.onnx", "m.npy", "empty", name])


def test_a_name_that_is_too_long_for_its_data(small):
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


@pytest.mark.parametrize(
    ("writer", "suffix"), [("export", ".onnx"), ("picture", ".png"), ("command", ".npy")]
)
def test_links_are_written_through(writer, suffix, small):
    (small / f"target{suffix}").write_bytes(b"old")
    (small / f"target{suffix}").chmod(0o640)
    (small / f"link{suffix}").symlink_to(f"target{suffix}")
    (small / f"new{suffix}").symlink_to(f"empty/made{suffix}")
    for link, target in ((f"link{suffix}", f"target{suffix}"), (f"new{suffix}", f"empty/made{suffix}")):
        writers()[writer](link)
        assert os.readlink(link) == target
        assert os.path.getsize(target) > 50
    assert stat.S_IMODE(os.stat(f"target{suffix}").st_mode) == 0o640
    old = os.umask(0o27)
    os.umask(old)
    assert stat.S_IMODE(os.stat(f"empty/made{suffix}").st_mode) == 0o666 & ~old
    assert os.listdir("empty") == [f"made{suffix}"]


def test_weights_beside_a_link_into_another_folder_are_refused(small):
    """A runtime looks for data beside the name that it opens."""
    (small / "link.onnx").symlink_to("empty/made.onnx")
    with pytest.raises(ParameterError, match=r"a link into another folder.*weights='inside'"):
        writers()["beside"]("link.onnx")
    assert os.listdir("empty") == []


@pytest.mark.parametrize(("writer", "suffix"), [("export", ""), ("picture", ".png"), ("command", "")])
def test_a_fifo_gets_what_a_file_would(writer, suffix, small):
    writers()[writer](f"file{suffix}")
    os.mkfifo(f"fifo{suffix}")
    got = []
    reader = threading.Thread(target=lambda: got.append(files.Path(f"fifo{suffix}").read_bytes()))
    reader.start()
    writers()[writer](f"fifo{suffix}")
    reader.join(timeout=20)
    assert len(got[0]) == os.path.getsize(f"file{suffix}")
    assert stat.S_ISFIFO(os.stat(f"fifo{suffix}").st_mode)


def test_a_fifo_that_nothing_reads_from_does_not_hang(small, monkeypatch):
    monkeypatch.setattr(files, "_PATIENCE", 0.2)
    os.mkfifo("fifo")
    with pytest.raises(ParameterError, match="nothing has read from this FIFO"):
        writers()["export"]("fifo")


def test_devices_are_written_to(small):
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
def test_standard_output_holds_the_file_alone(through, small):
    arguments = [*CLI, "explain", "m.onnx", "m.npy", "-o", "/dev/stdout", "--method", "Saliency"]
    if through == "pipe":
        done = subprocess.run(arguments, capture_output=True, check=True)
        (small / "maps.npy").write_bytes(done.stdout)
    else:
        with open("maps.npy", "wb") as file:
            done = subprocess.run(arguments, stdout=file, stderr=subprocess.PIPE, check=True)
    assert done.stderr == b"wrote /dev/stdout\n"
    np.testing.assert_array_equal(np.load("maps.npy"), Saliency(MLP.model).explain(MLP.given))
    expected = files.Path("maps.npy").stat().st_size
    np.save("again.npy", Saliency(MLP.model).explain(MLP.given))
    assert os.path.getsize("again.npy") == expected


def test_a_terminal_that_takes_nothing_more_is_one_line(small):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*CLI, "inspect", "m.onnx"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "onnxattr: the output cannot be written: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_outputs_that_a_service_has_closed(closed, small):
    for arguments, status in ((["-o", "c.npy"], 0), (["--targets", "9"], 2)):
        command = [*CLI, "explain", "m.onnx", "m.npy", "--method", "Saliency", *arguments]
        done = subprocess.run(f"{shlex.join(command)} {closed}", shell=True, capture_output=True, text=True)
        assert done.returncode == status
        assert "defect" not in done.stderr
    np.testing.assert_array_equal(np.load("c.npy"), Saliency(MLP.model).explain(MLP.given))


# Two writers, and ends in the middle ------------------------------------------------------------------------------
@pytest.mark.parametrize("place", ["inside", "beside"])
def test_two_threads_on_one_path(place, tmp_path):
    methods = [GradientInput(wide(seed)[0]) for seed in (0, 1)]
    path, errors = tmp_path / "e.onnx", []

    def go(method):
        try:
            for _ in range(5):
                method.export(path, weights=place)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=go, args=(method,)) for method in methods]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = onnxattr.load(path).explain(X, [0, 1])
    assert any(np.allclose(found, method.explain(X, [0, 1]), rtol=1e-5) for method in methods)
    # One data file, which the file reads: those of the exports that were replaced are gone.
    assert len(os.listdir(tmp_path)) == (2 if place == "beside" else 1)


#: Signals as a terminal gives them: a job in the background inherits some that are ignored.
FOREGROUND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
for kind in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(kind, signal.SIG_DFL)
"""

WRITE_SLOWLY = f"""{FOREGROUND}
import sys, time
from onnxattr.files import whole_file
with whole_file(sys.argv[1]) as file:
    file.write(b"half"); file.flush()
    print("open", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_stopped_process_leaves_the_old_file_and_nothing_else(number, tmp_path):
    path = tmp_path / "e.onnx"
    path.write_bytes(b"old")
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_SLOWLY, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout.readline() == b"open\n"
        assert len(os.listdir(tmp_path)) == 2
        process.send_signal(number)
        assert process.wait(timeout=20) == -number
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["e.onnx"]


def test_a_handler_of_the_program_is_kept(tmp_path):
    calls = []
    old = signal.signal(signal.SIGTERM, lambda *_: calls.append(1))
    try:
        with files.whole_file(tmp_path / "e") as file:
            os.kill(os.getpid(), signal.SIGTERM)
            file.write(b"whole")
    finally:
        signal.signal(signal.SIGTERM, old)
    assert calls == [1]
    assert (tmp_path / "e").read_bytes() == b"whole"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_has_no_traceback(number, small):
    (small / "o.npy").write_bytes(b"old")
    np.save("x.npy", np.ones((20_000, 6), np.float32))
    started = f"""{FOREGROUND}
import sys; from onnxattr.cli import main; print('up', flush=True); sys.exit(main(sys.argv[1:]))"""
    options = ["explain", "m.onnx", "x.npy", "-o", "o.npy", "--steps", "5000"]
    with subprocess.Popen(
        [sys.executable, "-c", started, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "up\n"
        time.sleep(2)
        process.send_signal(number)
        _, shown = process.communicate(timeout=30)
    lines = [line for line in shown.splitlines() if "grad/s" not in line and line.strip()]
    assert (process.returncode, lines) == (
        (130, ["onnxattr: interrupted"]) if number == signal.SIGINT else (-15, [])
    )
    assert (small / "o.npy").read_bytes() == b"old"
    assert sorted(os.listdir()) == ["empty", "m.npy", "m.onnx", "o.npy", "x.npy"]


# Arrays ----------------------------------------------------------------------------------------------------------
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
    return {
        "nothing": b"", "text": b"1,2,3", "cut": whole[:-5], "no header": whole[:9], "half a header": whole[:40],
        "pickle": files.Path("objects.npy").read_bytes(), "bare pickle": b"cos\nsystem\n(S'touch acted'\ntR.",
        "shape of 2**50": huge, "a shape of words": whole.replace(b"(3, 6)", b"('a',)"),
        "code for a shape": whole.replace(b"(3, 6), }", b"exit(), }"), "version 9": b"\x93NUMPY\x09" + whole[7:],
        "cut archive": archive[:-30], "flipped archive": archive[:60] + b"\xff\xff" + archive[62:],
        "archive of no arrays": files.Path("lie.npz").read_bytes(),
        "bad text": b"\x93NUMPY\x01\x00\x05\x00\xff\xfe\xff\n",
    }  # fmt: skip


DAMAGED = [
    "nothing", "text", "cut", "no header", "half a header", "pickle", "bare pickle", "shape of 2**50",
    "a shape of words", "code for a shape", "version 9", "cut archive", "flipped archive", "archive of no arrays",
    "bad text",
]  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_arrays_are_one_clear_error(case, small, capsys):
    (small / "x.npy").write_bytes(damaged_arrays()[case])
    with pytest.raises(ShapeError, match=r"x\.npy is not a \.npy file"):
        array_files.read_arrays("x.npy")
    for arguments in (["m.onnx", "x.npy"], ["m.onnx", "m.npy", "--targets", "x.npy"]):
        assert main(["explain", *arguments, "-o", "maps.npy"]) == 2
        shown = capsys.readouterr().err
        assert len(shown.splitlines()) == 1
        assert "x.npy is not a .npy file" in shown
    assert not os.path.exists("maps.npy")
    assert not os.path.exists("acted")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda name: os.symlink("/dev/zero", name)])
def test_inputs_that_are_no_files(make, small, capsys):
    make("x.npy")
    assert main(["explain", "m.onnx", "x.npy", "-o", "maps.npy"]) == 2
    assert "there is no such file" in capsys.readouterr().err


ODD = {
    "scalar": np.float32(3), "no arrays": {}, "records": np.zeros(3, [("a", "f4")]), "dates": np.zeros(3, "M8[s]"),
}  # fmt: skip
OPTIONS = [[], ["--targets", "1"], ["--picture", "why.png"]]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("case", ODD)
def test_arrays_of_odd_kinds(case, options, small, capsys):
    (np.savez if case == "no arrays" else np.save)("x", *([] if case == "no arrays" else [ODD[case]]))
    name = "x.npz" if case == "no arrays" else "x.npy"
    assert main(["explain", "m.onnx", name, "-o", "maps.npy", *options]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("number", ["--5", "²", "9" * 30, "9" * 5000, "-"])
@pytest.mark.parametrize("option", ["--targets", "--output-layer"])
def test_numbers_that_are_none(option, number, small, capsys):
    assert main(["explain", "m.onnx", "m.npy", "-o", "maps.npy", f"{option}={number}"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--triton", ""], ["--triton", "m.npy"], ["-o", ""]])
def test_empty_and_taken_names(arguments, small, capsys):
    before = contents()
    assert main(["export", "m.onnx", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert contents() == before


def test_names_of_a_model_do_not_reach_the_terminal_raw(small, capsys):
    """Escape sequences could rewrite what is on the screen."""
    nodes = [node("Tanh", ["x\x1b[2J\r"], ["h"]), node("Sin", ["h"], ["y\n\x07"])]
    onnx.save(build(nodes, {"x\x1b[2J\r": ["N", 4]}, {"y\n\x07": ["N", 4]}), "odd.onnx")
    assert main(["inspect", "odd.onnx"]) == 0
    assert main(["explain", "odd.onnx", "m.npy", "-o", "maps.npy"]) == 2
    shown = "".join(capsys.readouterr())
    assert "x\\x1b[2J\\r" in shown
    assert all(c.isprintable() or c == "\n" for c in shown)


def test_old_files_stay_where_an_export_fails(tmp_path):
    (tmp_path / "e.onnx").write_bytes(b"old")
    with pytest.raises(OnnxAttrError):
        IntegratedGradients(MLP.model).export(tmp_path / "e.onnx", "stream")
    assert (tmp_path / "e.onnx").read_bytes() == b"old"
