"""External data: every layout that ONNX Runtime opens is explained, exported and loaded; every escape is refused."""

import os

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from support.external_weights import LABELS, SIZE, WEIGHTS, X, check, save
from support.small_models import build, node

import onnxattr
from onnxattr.attributions import (
    ExpectedGradients,
    GradientInput,
    IntegratedGradients,
    NoiseTunnel,
    SmoothGrad,
)
from onnxattr.errors import ModelError, ParameterError
from onnxattr.inspection import inspect
from onnxattr.testing import check_vjp


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
