"""External data: every layout that ONNX Runtime opens is explained, exported and loaded; every escape is refused."""

import os
import socket

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.small_models import build, node

import onnxattr
from onnxattr.attributions import (
    ExpectedGradients,
    GradientInput,
    IntegratedGradients,
    NoiseTunnel,
    Saliency,
    SmoothGrad,
)
from onnxattr.errors import ModelError, ParameterError
from onnxattr.inspection import inspect
from onnxattr.testing import check_vjp

SIZE = 60  # 14,400 bytes: more than what is taken into the model at once
WEIGHTS = np.random.default_rng(0).normal(size=(SIZE, SIZE)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(2, SIZE)).astype(np.float32)
LABELS = [3, 5]
#: x * dy/dx of y = x W.
EXPECTED = X * WEIGHTS[:, LABELS].T


def model_with(weights=WEIGHTS):
    size = len(weights)
    return build([node("MatMul", ["x", "w"], ["y"])], {"x": ["N", size]}, {"y": ["N", size]}, {"w": weights})


def save(path, location="w.bin", weights=WEIGHTS, **entries):
    """Writes a model whose weights are external, and gives the bytes that its data file should have."""
    model = model_with(weights)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return weights.tobytes()


def hub_cache(folder):
    """Model and data are links into a folder of blobs."""
    path, blobs = folder / "snapshots/1f/onnx/model.onnx", folder / "blobs"
    data = save(blobs / "beef", "model.onnx_data")
    (blobs / "cafe").write_bytes(data)
    path.parent.mkdir(parents=True)
    path.symlink_to("../../../blobs/beef")
    (path.parent / "model.onnx_data").symlink_to("../../../blobs/cafe")
    return path


def hard_link(folder):
    (folder / "elsewhere").write_bytes(save(folder / "m/model.onnx"))
    os.link(folder / "elsewhere", folder / "m/w.bin")
    return folder / "m/model.onnx"


def link_to_a_model_with_data_beside_the_link(folder):
    data = save(folder / "blobs/beef")
    (folder / "m").mkdir()
    (folder / "m/w.bin").write_bytes(data)
    (folder / "m/model.onnx").symlink_to("../blobs/beef")
    return folder / "m/model.onnx"


def data_on_both_sides_of_a_link(folder):
    """Half of the weights beside the link, half beside the model that it leads to."""
    halves = {"a": np.ascontiguousarray(WEIGHTS[:, :30]), "b": np.ascontiguousarray(WEIGHTS[:, 30:])}
    nodes = [node("Concat", ["a", "b"], ["w"], axis=1), node("MatMul", ["x", "w"], ["y"])]
    model = build(nodes, {"x": ["N", SIZE]}, {"y": ["N", SIZE]}, halves)
    (folder / "blobs").mkdir()
    (folder / "m").mkdir()
    for tensor in model.graph.initializer:
        (folder / ("m" if tensor.name == "a" else "blobs") / tensor.name).write_bytes(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=tensor.name)
    (folder / "blobs/beef").write_bytes(model.SerializeToString())
    (folder / "m/b").symlink_to("../blobs/b")
    (folder / "m/model.onnx").symlink_to("../blobs/beef")
    return folder / "m/model.onnx"


def link_inside_the_folder(folder):
    (folder / "real.bin").write_bytes(save(folder / "model.onnx"))
    (folder / "w.bin").symlink_to("real.bin")
    return folder / "model.onnx"


def folder_that_is_a_link(folder):
    (folder / "real").mkdir()
    (folder / "real/w.bin").write_bytes(save(folder / "real/model.onnx"))
    (folder / "m").symlink_to("real")
    return folder / "m/model.onnx"


def below_with_an_offset(folder):
    data = save(folder / "model.onnx", "sub/w.bin", offset=4096, length=WEIGHTS.nbytes)
    (folder / "sub").mkdir()
    (folder / "sub/w.bin").write_bytes(b"\7" * 4096 + data + b"\7")
    return folder / "model.onnx"


def through_a_folder_and_back(folder):
    data = save(folder / "model.onnx", "sub/../w.bin")
    (folder / "sub").mkdir()
    (folder / "w.bin").write_bytes(data)
    return folder / "model.onnx"


def overlapping(folder):
    """Two tensors of the same bytes, and one of part of them: read as they are, since nothing is written there."""
    data = save(folder / "model.onnx")
    (folder / "w.bin").write_bytes(data)
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    for name, offset, rows in (("again", 0, SIZE), ("part", 240, 30)):
        tensor = model.graph.initializer.add()
        tensor.CopyFrom(model.graph.initializer[0])
        tensor.name, tensor.dims[0] = name, rows
        tensor.external_data.add(key="offset", value=str(offset))
    nodes = [
        node("Sub", ["w", "again"], ["zero"]), node("Slice", ["zero", "from", "to"], ["few"]),
        node("Mul", ["few", "part"], ["none"]), node("ReduceSum", ["none"], ["s"], keepdims=0),
        node("MatMul", ["x", "w"], ["p"]), node("Add", ["p", "s"], ["y"]),
    ]  # fmt: skip
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(
        [numpy_helper.from_array(np.array([k]), n) for n, k in (("from", 0), ("to", 30))]
    )
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


LAYOUTS = [
    hub_cache, hard_link, link_to_a_model_with_data_beside_the_link, data_on_both_sides_of_a_link,
    link_inside_the_folder, folder_that_is_a_link, below_with_an_offset, through_a_folder_and_back, overlapping,
]  # fmt: skip


def check(maps):
    np.testing.assert_allclose(maps, EXPECTED, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_that_onnx_runtime_opens(layout, tmp_path):
    path = layout(tmp_path)
    plain = onnxruntime.InferenceSession(str(path)).run(None, {"x": X})[0]
    method = GradientInput(path)
    np.testing.assert_allclose(method.predict(X), plain, rtol=1e-5, atol=1e-5)
    check(method.explain(X, LABELS))
    assert f"x: float (N, {SIZE})" in inspect(path)


@pytest.mark.parametrize("place", ["inside", "beside", "auto"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_exports_of_such_layouts(layout, place, tmp_path):
    path = layout(tmp_path)
    (tmp_path / "out").mkdir()
    for exported in (tmp_path / "out/e.onnx", path.parent / "e.onnx"):
        GradientInput(path).export(exported, weights=place)
        check(onnxattr.load(exported).explain(X, LABELS))
        session = onnxruntime.InferenceSession(str(exported))
        check(session.run(["attribution"], {"x": X, "target": np.array(LABELS)})[0])


def test_gradients_are_checked_of_such_models(tmp_path):
    assert check_vjp(hub_cache(tmp_path), {"x": X}) < 1e-6
    assert check_vjp(hard_link(tmp_path / "m"), {"x": X}, runtime="onnxruntime") < 2e-3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shared_data_is_read_where_it_is(layout, tmp_path):
    """A file that names data above its own folder is opened by no runtime: it has to lie at the data, or above it."""
    path = layout(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    exported = tmp_path / "e.onnx"
    GradientInput(path).export(exported, weights="shared")
    assert sorted([*tmp_path.rglob("*")]) == sorted([*before, exported])
    assert exported.stat().st_size < WEIGHTS.nbytes
    check(onnxattr.load(exported).explain(X, LABELS))
    session = onnxruntime.InferenceSession(str(exported))
    check(session.run(["attribution"], {"x": X, "target": np.array(LABELS)})[0])


def test_shared_data_of_a_hub_cache_is_not_below_its_snapshot(tmp_path):
    path = hub_cache(tmp_path)
    with pytest.raises(ParameterError, match=r"blobs/cafe is not in .*snapshots/1f/onnx"):
        GradientInput(path).export(path.parent / "e.onnx", weights="shared")


def as_proto(path):
    return onnx.load(path, load_external_data=False)


def test_a_model_from_no_file_reads_data_of_the_current_folder_alone(tmp_path, monkeypatch):
    (tmp_path / "m").mkdir()
    path = below_with_an_offset(tmp_path / "m")
    monkeypatch.chdir(tmp_path / "m")
    proto = as_proto(path)
    before = proto.SerializeToString()
    for source in (proto, path.read_bytes()):
        check(GradientInput(source).explain(X, LABELS))
    assert proto.SerializeToString() == before
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    check(GradientInput(ir.load(path)).explain(X, LABELS))
    with pytest.raises(ModelError, match="not beside the model"):
        GradientInput(proto)
    save(tmp_path / "model.onnx", "../m/sub/w.bin")
    with pytest.raises(ModelError, match="leads out of"):
        GradientInput((tmp_path / "model.onnx").read_bytes())


WIDE = 1500
#: Methods whose parts of the graph are run by themselves: before a cut, behind it, and around noise.
IN_PARTS = {
    "path": lambda m: IntegratedGradients(m, steps=40),
    "adaptive path": lambda m: IntegratedGradients(m, points="adaptive", tolerance=0.05),
    "noise": lambda m: SmoothGrad(m, nb_samples=40),
    "noise around a path": lambda m: NoiseTunnel(IntegratedGradients(m, steps=20), nb_samples=3),
    "background": lambda m: ExpectedGradients(m, background=np.ones((3, WIDE), np.float32), nb_samples=40),
}


@pytest.mark.parametrize("made", IN_PARTS.values(), ids=IN_PARTS)
def test_parts_of_a_model_read_its_data(made, tmp_path, monkeypatch):
    """Also where a file of that name, of another model, lies in the current folder."""
    rng = np.random.default_rng(2)
    weights = {
        "w": rng.normal(size=(WIDE, WIDE)).astype(np.float32) / 40,
        "v": rng.normal(size=(WIDE, 5)).astype(np.float32) / 40,
    }
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "v"], ["y"])]
    model = build(nodes, {"x": ["N", WIDE]}, {"y": ["N", 5]}, weights)
    x = rng.normal(size=(2, WIDE)).astype(np.float32)
    expected = made(model).explain(x, [1, 2])
    (tmp_path / "m").mkdir()
    onnx.save(model, tmp_path / "m/model.onnx", save_as_external_data=True, location="data", size_threshold=0)
    (tmp_path / "data").write_bytes(bytes(4 * WIDE * (WIDE + 5)))
    monkeypatch.chdir(tmp_path)
    found = made("m/model.onnx").explain(x, [1, 2])
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


# Refusals ----------------------------------------------------------------------------------------------------------
def fifo(folder):
    os.mkfifo(folder / "sub/w.bin")


def a_socket(folder):
    # Its address is short: the name of a socket has up to 107 letters.
    here = os.getcwd()
    os.chdir(folder / "sub")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("w.bin")
    os.chdir(here)


def link_to_a_device(folder):
    (folder / "sub/w.bin").symlink_to("/dev/zero")


def link_out(folder):
    (folder / "sub/w.bin").symlink_to("../secret.bin")


def link_out_in_steps(folder):
    (folder / "sub/step").symlink_to("../secret.bin")
    (folder / "sub/w.bin").symlink_to("step")


def linked_folder(folder):
    (folder / "sub/up").symlink_to("..")


def circle(folder):
    (folder / "sub/w.bin").symlink_to("w.bin")


def here(folder):
    (folder / "sub/w.bin").write_bytes((folder / "secret.bin").read_bytes())


def nothing(folder):
    pass


REFUSED = {
    "missing": ({}, nothing, "'w.bin' is not beside the model"),
    "FIFO": ({}, fifo, "'w.bin' is a FIFO"),
    "socket": ({}, a_socket, "'w.bin' is a socket"),
    "folder": ({"location": "."}, nothing, "'.' is a folder"),
    "link to a device": ({}, link_to_a_device, "is a link to /dev/zero, which is not in"),
    "link out": ({}, link_out, r"is a link to .*/secret.bin, which is not in .*/sub"),
    "link to a link out": ({}, link_out_in_steps, r"is a link to .*/secret.bin, which is not in"),
    "linked folder": ({"location": "up/secret.bin"}, linked_folder, r"is a link to .*/secret.bin, which is not in"),
    "link to itself": ({}, circle, "not beside the model.*links"),
    "parent": ({"location": "../secret.bin"}, nothing, "leads out of the model's folder"),
    "parent inside": ({"location": "a/../../secret.bin"}, nothing, "leads out of the model's folder"),
    "down and up": ({"location": "../sub/../secret.bin"}, nothing, "leads out of the model's folder"),
    "absolute": ({"location": "{folder}/secret.bin"}, nothing, "is an absolute path"),
    "absolute, inside": ({"location": "{folder}/sub/w.bin"}, here, "is an absolute path"),
    "absolute on Windows": ({"location": "C:\\secret.bin"}, nothing, "is an absolute path"),
    "device": ({"location": "/dev/zero"}, nothing, "is an absolute path"),
    "no name": ({"location": ""}, nothing, "no data file is named"),
    "NUL": ({"location": "a\0b"}, nothing, "is not the name of a file"),
    "long name": ({"location": "n" * 300}, nothing, "not beside the model.*too long"),
    "below a file": ({"location": "w.bin/x"}, here, "not beside the model"),
    "offset beyond the end": ({"offset": 4}, here, r"bytes 4 to 14404 are needed of 'w.bin', which has 14400"),
    "offset of 2**60": ({"offset": 2**60}, here, "which has 14400"),
    "offset beyond 64 bits": ({"offset": 10**30}, here, "expected a number of bytes"),
    "negative offset": ({"offset": -4}, here, "offset is '-4'; expected a number of bytes from 0 on"),
    "negative length": ({"length": -1}, here, "length is '-1'"),
    "length in words": ({"length": "many"}, here, "length is 'many'"),
    "length too small": ({"length": 4}, here, r"is said to be 4 bytes; its shape \[60, 60\] takes 14400"),
    "length of 2**60": ({"length": 2**60}, here, r"takes 14400"),
    "shape of 2**60": ({"dims": [2**60]}, here, "needed of 'w.bin', which has 14400"),
    "shape beyond 64 bits": ({"dims": [2**60, 2**60]}, here, "needed of 'w.bin', which has 14400"),
    "negative shape": ({"dims": [-60, -60]}, here, "negative dimension"),
    "text": ({"data_type": TensorProto.STRING}, here, "type 8, which has no size"),
    "unknown type": ({"data_type": 99}, here, "unknown type 99"),
    "no type": ({"data_type": 0}, here, "unknown type 0"),
}  # fmt: skip


def in_initializer(model):
    return model.graph.initializer[0]


def in_constant(model):
    tensor = model.graph.initializer.pop()
    model.graph.node.insert(0, node("Constant", [], ["w"], value=tensor))
    return model.graph.node[0].attribute[0].t


def in_branch(model):
    value = helper.make_tensor_value_info("y", 1, ["N", SIZE])
    body = helper.make_graph(list(model.graph.node), "body", [], [value], [model.graph.initializer.pop()])
    other = helper.make_graph(
        [node("Identity", ["x"], ["y2"])], "o", [], [helper.make_tensor_value_info("y2", 1, None)]
    )
    del model.graph.node[:]
    model.graph.node.append(node("If", ["c"], ["y"], then_branch=body, else_branch=other))
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    return next(a.g for a in model.graph.node[0].attribute if a.name == "then_branch").initializer[0]


@pytest.mark.parametrize("place", [in_initializer, in_constant, in_branch])
@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_which_rule_refused(case, place, tmp_path):
    entries, prepare, words = REFUSED[case]
    model = model_with()
    tensor = place(model)
    entries = {"location": "w.bin"} | entries
    for field in ("dims", "data_type"):
        if field == "dims" and field in entries:
            tensor.dims[:] = entries.pop(field)
        elif field in entries:
            tensor.data_type = entries.pop(field)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value).format(folder=tmp_path))
    (tmp_path / "sub").mkdir()
    (tmp_path / "secret.bin").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "sub/model.onnx").write_bytes(model.SerializeToString())
    prepare(tmp_path)
    with pytest.raises(ModelError, match=words):
        Saliency(tmp_path / "sub/model.onnx")


@pytest.mark.parametrize("place", [in_initializer, in_constant, in_branch])
def test_the_same_places_with_good_data(place, tmp_path):
    """What the refusals above refuse is what is wrong, not the place."""
    model = model_with()
    tensor = place(model)
    (tmp_path / "w.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    given = {"x": X, "c": np.array(True)} if place is in_branch else X
    check(GradientInput(tmp_path / "model.onnx").explain(given, LABELS))


def test_data_that_vanishes_after_loading_is_an_error(tmp_path):
    (tmp_path / "w.bin").write_bytes(save(tmp_path / "model.onnx"))
    method = Saliency(tmp_path / "model.onnx")
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelError, match=r"'w.bin' cannot be read: No such file"):
        method.export(tmp_path / "e.onnx", weights="inside")
    with pytest.raises(ModelError, match="refuses the model"):
        method.explain(X, LABELS)
