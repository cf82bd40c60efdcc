"""Photos for a plain model whose file says what it expects: one photo, folders, tables of pictures say the same."""

import io
import re
import warnings
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.small_models import build, node, random

from onnxattr import GradientInput, IntegratedGradients, NoiseTunnel, OnnxAttrError, attributions, load
from onnxattr.bulk import explain_folder, mapper
from onnxattr.cli import main
from onnxattr.loading.meaning.inputs_outputs import KEY as MEANING
from onnxattr.loading.meaning.inputs_outputs import InputMeaning, Meaning
from onnxattr.loading.preprocessing.files import preprocessing_of
from onnxattr.loading.preprocessing.spec import KEY

SIZES = {"a.png": (20, 30), "b.png": (20, 30), "c.png": (40, 16)}
MAPS = {"--method": "GradientInput"}


def pixels(name):
    return np.random.default_rng(ord(name[0])).integers(0, 256, (*SIZES[name], 3), np.uint8)


def network(expected):
    """A network of one convolution on images of 8 x 8, whose file says what it expects."""
    nodes = [node("Conv", ["image", "k"], ["c"]), node("Sigmoid", ["c"], ["s"])]
    nodes += [node("GlobalAveragePool", ["s"], ["mean"]), node("Flatten", ["mean"], ["logits"])]
    found = build(nodes, {"image": ["N", 3, 8, 8]}, {"logits": ["N", 3]}, {"k": random(1, 3, 3, 3, 3)})
    if expected is not None:
        onnx.helper.set_model_props(found, {KEY: preprocessing_of(expected).text()})
    return found


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A model that says what it expects, one that does not, and three photos."""
    monkeypatch.chdir(tmp_path)
    onnx.save(network("imagenet"), "model.onnx")
    onnx.save(network(None), "unknown.onnx")
    Path("photos").mkdir()
    for name in SIZES:
        Image.fromarray(pixels(name)).save(f"photos/{name}")
    return tmp_path


def stacked(path):
    """The maps of a file of arrays, one for each of its samples."""
    found = np.load(path)
    return np.stack([found[name] for name in found.files])


def expected_maps(kind=GradientInput, **options):
    method = kind("model.onnx", preprocess="imagenet", **options)
    return {name: method.explain(pixels(name)[None])[0] for name in SIZES}


def test_a_folder_says_what_single_photos_say(place, capsys):
    expected = expected_maps()
    assert (
        main(["explain", "model.onnx", "photos/", *sum(MAPS.items(), ()), "-o", "out/", "--form", ".npz"])
        == 0
    )
    assert "explained 3 samples; wrote 3 files" in capsys.readouterr().out
    for name, maps in expected.items():
        single = f"single-{name}.npz"
        assert main(["explain", "model.onnx", f"photos/{name}", *sum(MAPS.items(), ()), "-o", single]) == 0
        job = np.load(f"out/{Path(name).stem}.npz")
        np.testing.assert_array_equal(np.load(single)[name], maps)
        np.testing.assert_array_equal(job[name], maps)
    assert main(["explain", "model.onnx", "photos/", "-o", "pictures/"]) == 0
    assert sorted(path.name for path in Path("pictures").glob("*.png")) == [
        "a.why.png",
        "b.why.png",
        "c.why.png",
    ]


@pytest.mark.parametrize("labels", [None, (2, 0)])
def test_generators_say_what_single_photos_say(place, labels):
    """The first element says whether photos come; nothing is read before it is needed."""
    read = []

    def photos():
        for index, name in enumerate(("a.png", "b.png")):
            read.append(name)
            yield f"photos/{name}" if labels is None else (f"photos/{name}", labels[index])

    method = GradientInput("model.onnx")
    generator = photos()
    assert read == []
    found = method.explain(generator)
    assert read == ["a.png", "b.png"]
    single = GradientInput("model.onnx", preprocess="imagenet")
    for index, name in enumerate(read):
        expected = single.explain(pixels(name)[None], None if labels is None else [labels[index]])
        np.testing.assert_array_equal(found[index : index + 1], expected)
    # Arrays are what the network takes, as without a generator.
    images = random(0, 2, 3, 8, 8)
    np.testing.assert_array_equal(method.explain(iter(images)), method.explain(images))
    with pytest.raises(OnnxAttrError, match="no batch"):
        method.explain(iter(()))


def test_jobs_of_mixed_folders(place, capsys):
    """Photos get the preprocessing; arrays are what the network takes, as in a call with them alone."""
    images = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    np.save("photos/images.npy", images)
    np.savez("photos/named.npz", image=images)
    report = explain_folder(GradientInput("model.onnx"), "photos", "out", form=".npz")
    assert (len(report.written), report.samples, report.failed) == (5, 7, {})
    plain = GradientInput("model.onnx").explain(images)
    for name in ("images", "named"):
        np.testing.assert_allclose(stacked(f"out/{name}.npz"), plain, rtol=1e-6, atol=1e-9)
    for name, maps in expected_maps().items():
        np.testing.assert_array_equal(np.load(f"out/{Path(name).stem}.npz")[name], maps)
    assert len(explain_folder(GradientInput("model.onnx"), "photos", "out", form=".npz").skipped) == 5


def test_folders_of_tables_and_arrays_take_no_preprocessing(place):
    """A table beside a model of images that says what it expects is what it was."""
    table = build(
        [node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 3]}, {"y": ["N", 2]}, {"w": random(1, 3, 2)}
    )
    onnx.save(table, "table.onnx")
    Path("rows").mkdir()
    rows = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    Path("rows/r.csv").write_text("age,height,weight\n1,2,3\n4,5,6\n")
    np.savez("rows/r2.npz", x=rows)
    report = explain_folder(GradientInput("table.onnx"), "rows", "out", form=".npz")
    assert report.failed == {}
    for name in ("r", "r2"):
        np.testing.assert_allclose(stacked(f"out/{name}.npz"), GradientInput(table).explain(rows))


def test_columns_of_pictures(place):
    def png(name):
        file = io.BytesIO()
        Image.fromarray(pixels(name)).save(file, "png")
        return file.getvalue()

    table = pa.table({"name": list(SIZES), "photo": [png(name) for name in SIZES]})
    found = mapper(GradientInput("model.onnx"))(table)
    expected = expected_maps()
    for row, name in enumerate(SIZES):
        maps = np.reshape(found["attribution"][row].as_py(), found["attribution_shape"][row].as_py())
        np.testing.assert_array_equal(np.float32(maps), expected[name])
    Path("tables").mkdir()
    pq.write_table(table, "tables/t.parquet")
    assert main(["explain", "model.onnx", "tables/", *sum(MAPS.items(), ()), "-o", "out/"]) == 0
    assert pq.read_table("out/t.parquet").equals(found)
    images = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    arrays = mapper(GradientInput("model.onnx"))(pa.table({"image": images.reshape(2, -1).tolist()}))
    plain = GradientInput("model.onnx").explain(images)
    np.testing.assert_allclose(np.reshape(arrays["attribution"].to_pylist(), plain.shape), plain, rtol=1e-6)


METHOD_PARAMETERS = {
    "ExpectedGradients": {"background": np.zeros((2, 3, 8, 8), np.float32)},
    "GradientShap": {"background": np.zeros((2, 3, 8, 8), np.float32)},
}


@pytest.mark.parametrize("name", sorted(set(attributions.METHODS) - set(METHOD_PARAMETERS)))
def test_every_method_takes_photos(name, place):
    """The map of the method that was made with the preprocessing; its gaps and parameters too."""
    kind = getattr(attributions, name)
    plain, front = kind("model.onnx", batch_size=4), kind("model.onnx", batch_size=4, preprocess="model")
    found, wanted = plain("photos/c.png"), front("photos/c.png")
    np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))
    assert (found.axes, found.parameters, found.seen) == (wanted.axes, wanted.parameters, wanted.seen)
    assert plain.predict("photos/c.png") == pytest.approx(front.predict("photos/c.png"))
    assert plain.score("photos/c.png") == pytest.approx(front.score("photos/c.png"))
    with Image.open("photos/c.png") as image:
        np.testing.assert_array_equal(plain.explain(image), wanted)
    assert plain.for_photos() is plain.for_photos()
    assert front.for_photos() is front
    images = np.zeros((1, 3, 8, 8), np.float32)
    assert plain.explain(images).shape[0] == 1  # arrays stay what the network takes


def test_parameters_travel(place):
    method = IntegratedGradients("model.onnx", steps=7, baseline_value=127.0, quadrature="gauss_legendre")
    front = IntegratedGradients(
        "model.onnx", steps=7, baseline_value=127.0, quadrature="gauss_legendre", preprocess="imagenet"
    )
    photos = ["photos/a.png", "photos/b.png"]
    np.testing.assert_array_equal(method.explain(photos), front.explain(photos))
    np.testing.assert_array_equal(method.gaps, front.gaps)
    np.testing.assert_array_equal(method.relative_gap(photos), front.gaps)
    np.testing.assert_array_equal(method.explain(photos, baselines=9.0), front.explain(photos, baselines=9.0))
    tunnel = NoiseTunnel(GradientInput("model.onnx"), 3, 20.0, seed=5)
    other = NoiseTunnel(GradientInput("model.onnx", preprocess="model"), 3, 20.0, seed=5)
    np.testing.assert_array_equal(tunnel.explain(photos), other.explain(photos))
    assert method.explain(np.zeros((1, 3, 8, 8), np.float32)).shape == (1, 1, 8, 8)


def test_models_made_in_python(place):
    """The file is not needed: what was given as a model is kept where photos may come."""
    for given in (network("0..1"), network("0..1").SerializeToString()):
        found = GradientInput(given).explain("photos/a.png")
        np.testing.assert_array_equal(
            found, GradientInput(network(None), preprocess="0..1").explain("photos/a.png")
        )


UNKNOWN = "does not say how a photo becomes its input 'image', float (N, 3, 8, 8): add --preprocess"


def test_unknown_preprocessing_is_refused_before_any_work(place, capsys, monkeypatch):
    monkeypatch.setattr("onnxattr.session.Session.run", lambda *_: pytest.fail("ran before the refusal"))
    assert main(["explain", "unknown.onnx", "photos/", "-o", "out/"]) == 2
    shown = capsys.readouterr().err
    assert UNKNOWN in shown
    assert len(shown.splitlines()) == 1
    assert not Path("out").exists()
    table = pa.table({"photo": [Path("photos/a.png").read_bytes()]})
    for call in (
        lambda: explain_folder(GradientInput("unknown.onnx"), "photos", "out"),
        lambda: mapper(GradientInput("unknown.onnx"))(table),
        lambda: GradientInput("unknown.onnx")("photos"),
    ):
        with pytest.raises(OnnxAttrError) as refusal:
            call()
        assert UNKNOWN in str(refusal.value)
    GradientInput("model.onnx").export("plain.onnx", check=False)
    assert main(["explain", "plain.onnx", "photos/", "-o", "out/"]) == 2
    assert "export the explainer, with --preprocess model" in capsys.readouterr().err


def test_unknown_preprocessing_among_other_files(place, capsys):
    """The arrays of a mixed folder are done, the photos are listed."""
    np.save("photos/images.npy", np.zeros((2, 3, 8, 8), np.float32))
    assert main(["explain", "unknown.onnx", "photos/", "-o", "out/"]) == 2
    told = capsys.readouterr().err
    assert "wrote 1 files" in told
    assert "3 files could not be explained" in told
    assert UNKNOWN in told


NETWORKS = {
    "expects 0..1": ("0..1", ()),
    "expects imagenet's": ("imagenet", ()),
    "expects pixels": ("0..255", ()),
    "expects caffe's": ("keras-caffe", ()),
    "scales pixels itself": (None, ("Rescaling",)),
    "says nothing": (None, ()),
}
SHARES = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
BYTES = np.round(255 * SHARES).astype(np.uint8)


@pytest.mark.parametrize("exported", [False, True], ids=["method", "file"])
@pytest.mark.parametrize(
    ("which", "images", "said"),
    [
        ("expects 0..1", BYTES, "'image' holds uint8 numbers .* numbers of 0 to 1. "),
        ("expects 0..1", BYTES.astype(np.float32), "'image' holds float32 .*preprocess='model'"),
        ("expects 0..1", SHARES, None),
        ("expects 0..1", (BYTES > 127).astype(np.uint8), None),
        ("expects 0..1", SHARES * 1.5 - 0.25, None),
        ("expects imagenet's", BYTES, "numbers of -2.12 to 2.64"),
        ("expects imagenet's", BYTES.astype(np.int64), "numbers of -2.12 to 2.64"),
        ("expects imagenet's", SHARES * 4 - 2, None),
        ("expects pixels", BYTES, None),
        ("expects pixels", SHARES, "numbers of 0 to 255"),
        ("expects caffe's", SHARES, "numbers of -124 to 151"),
        ("expects caffe's", SHARES * 4 - 2, "numbers of -124 to 151"),
        ("expects caffe's", BYTES - np.float32(110), None),
        ("scales pixels itself", SHARES, r"the model \(Rescaling\) takes pixels of 0 to 255"),
        ("scales pixels itself", BYTES, None),
        ("scales pixels itself", BYTES.astype(np.float32), None),
        ("says nothing", BYTES, None),
        ("says nothing", SHARES, None),
    ],
)
def test_numbers_that_the_network_was_not_made_for_are_said(which, images, said, exported, tmp_path):
    expected, normalized_by = NETWORKS[which]
    model = network(expected)
    if normalized_by:
        entry = Meaning({"image": InputMeaning("image", normalized_by=normalized_by)})
        onnx.helper.set_model_props(model, {MEANING: entry.text()})
    method = GradientInput(model)
    if exported:
        method.export(tmp_path / "explainer.onnx")
        method = load(tmp_path / "explainer.onnx")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        method.explain(images, 0)
    texts = [str(one.message) for one in heard]
    assert len(texts) == (said is not None), texts
    assert said is None or re.search(said, texts[0]), texts
