"""Photos, sounds, tables and arrays in files are read as what they show, or refused in a sentence."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from support.small_models import build, node, random

import onnxattr
from onnxattr import GradientInput, OnnxAttrError, Saliency
from onnxattr.errors import ShapeError, TargetError
from onnxattr.inputs import paths
from onnxattr.inputs.photos import read_photo
from onnxattr.inputs.samples import read_samples
from onnxattr.loading.meaning import inputs_outputs as meaning
from onnxattr.loading.meaning.inputs_outputs import InputMeaning, Meaning
from onnxattr.loading.prepared import prepare

RGB = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
GREY = RGB[..., 0]
LUMA = np.asarray(Image.fromarray(RGB).convert("L"))


def saved(path, pixels, mode=None, exif=None, **options):
    image = Image.fromarray(pixels, mode) if mode is None else Image.fromarray(pixels).convert(mode)
    if exif is not None:
        options["exif"] = image.getexif()
        options["exif"][0x0112] = exif
    image.save(path, **options)
    return path


def on_white(rgba):
    opacity = rgba[..., 3:] / 255
    return rgba[..., :3] * opacity + 255 * (1 - opacity)


RGBA = np.concatenate([RGB, np.random.default_rng(1).integers(0, 256, (4, 6, 1), np.uint8)], axis=2)
CMYK = np.concatenate([RGB, np.zeros((4, 6, 1), np.uint8)], axis=2)
#: The seven orientations that cameras write beside the upright one: what turns the stored photo upright.
TURNS = {
    2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1), 7: lambda a: a.swapaxes(0, 1)[::-1, ::-1], 8: lambda a: np.rot90(a),
}  # fmt: skip
READ = {
    "colours": (lambda p: saved(p / "a.png", RGB), RGB, 0),
    "grey": (lambda p: saved(p / "a.png", GREY), np.repeat(GREY[..., None], 3, 2), 0),
    "16 bits": (lambda p: saved(p / "a.png", GREY.astype(np.uint16) * 257), np.repeat(GREY[..., None], 3, 2), 0),
    "black and white": (
        lambda p: saved(p / "a.png", np.where(GREY > 99, 255, 0).astype(np.uint8), "1"),
        np.where(np.repeat(GREY[..., None], 3, 2) > 99, 255, 0),
        0,
    ),
    "transparent": (lambda p: saved(p / "a.png", RGBA), on_white(RGBA), 1),
    "printer's colours": (
        lambda p: (Image.frombytes("CMYK", (6, 4), CMYK.tobytes()).save(p / "a.tif"), p / "a.tif")[1],
        255 - RGB,
        0,
    ),
    "palette": (
        lambda p: saved(p / "a.gif", np.where(RGB > 127, 255, 0).astype(np.uint8)), np.where(RGB > 127, 255, 0), 0
    ),
    **{
        f"orientation {turn}": (lambda p, turn=turn: saved(p / "a.png", RGB, exif=turn), upright(RGB), 0)
        for turn, upright in TURNS.items()
    },
    "turned and transparent": (lambda p: saved(p / "a.png", RGBA, exif=6), on_white(TURNS[6](RGBA)), 1),
    "turned, 16 bits": (
        lambda p: saved(p / "a.png", GREY.astype(np.uint16) * 257, exif=8),
        np.repeat(TURNS[8](GREY)[..., None], 3, 2),
        0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_photos_are_read_as_they_look(case, tmp_path):
    make, expected, within = READ[case]
    found = read_photo(make(tmp_path))
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).max() <= within


def test_photos_in_other_channels(tmp_path):
    path = saved(tmp_path / "a.png", RGB)
    np.testing.assert_array_equal(read_photo(path, 1)[..., 0], LUMA)
    np.testing.assert_array_equal(read_photo(saved(tmp_path / "b.png", RGBA), 4), RGBA)
    np.testing.assert_array_equal(read_photo(Image.fromarray(RGB)), RGB)


def chunk(kind, data):
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(path):
    """A PNG file of a few bytes that says it has 40,000 x 40,000 pixels."""
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


def keyed(path, pixels):
    """A PNG file of 16 bits in which the first pixel's colour is transparent."""
    # Grey is rounded to 8 bits; of colours Pillow takes the upper byte.
    stored = (pixels.astype(int) * (257 if pixels.ndim == 2 else 256)).astype(">u2")
    kind = 0 if pixels.ndim == 2 else 2
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, kind, 0, 0, 0)
    lines = b"".join(b"\0" + line.tobytes() for line in stored)
    parts = [
        (b"IHDR", header),
        (b"tRNS", stored[0, 0].tobytes()),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    return path


@pytest.mark.parametrize("pixels", [GREY, RGB], ids=["grey", "colours"])
def test_a_transparent_colour_of_16_bits_is_white(pixels, tmp_path):
    same = pixels == pixels[0, 0] if pixels.ndim == 2 else np.all(pixels == pixels[0, 0], -1)
    shown = np.where(same[..., None], 255, pixels.reshape(*same.shape, -1))
    found = read_photo(keyed(tmp_path / "a.png", pixels))
    np.testing.assert_array_equal(found, np.broadcast_to(shown, found.shape))
    assert (read_photo(tmp_path / "a.png", 4)[..., 3] == np.where(same, 0, 255)).all()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_transparent_grey_of_few_bits_is_white(bits, tmp_path):
    most = 2**bits - 1
    for key in range(most + 1):
        values = np.arange(most + 1)
        line = np.packbits(np.unpackbits(values.astype(np.uint8)[:, None], axis=1)[:, -bits:]).tobytes()
        parts = [
            (b"IHDR", struct.pack(">IIBBBBB", len(values), 1, bits, 0, 0, 0, 0)),
            (b"tRNS", struct.pack(">H", key)),
            (b"IDAT", zlib.compress(b"\0" + line)),
            (b"IEND", b""),
        ]
        path = tmp_path / "a.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
        shown = np.where(values == key, 255, values * 255 // most)
        np.testing.assert_array_equal(read_photo(path)[0], np.repeat(shown[:, None], 3, axis=1))


def animated(path):
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def cut_off(path):
    saved(path, np.random.default_rng(2).integers(0, 256, (99, 99, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:2000])


REFUSED = {
    "a.png": (bomb, "pixels"),
    "a.gif": (animated, "holds 2 pictures"),
    "a.jpg": (cut_off, "cannot be read as a photo: image file is truncated"),
    "b.jpg": (lambda p: p.write_text("no photo"), "no picture that can be read"),
    "c.jpg": (lambda p: p.write_bytes(b""), "no picture that can be read"),
    "d.jpg": (lambda p: Image.fromarray(RGB).save(p, format="EPS"), "no picture that can be read"),
    "a.tif": (lambda p: Image.fromarray(GREY.astype(np.float32)).save(p), "mode 'F' and no colours"),
    "b.tif": (lambda p: Image.fromarray(GREY.astype(np.int32) * 99999).save(p), "mode 'I' and no colours"),
    "missing.png": (lambda p: None, "there is no such file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_photo_is_refused(name, tmp_path):
    make, says = REFUSED[name]
    make(tmp_path / name)
    with pytest.raises(ShapeError, match=says) as refused:
        read_photo(tmp_path / name)
    assert name in str(refused.value)


def pixels_model(size=(4, 6), channels=3, layout="NCHW"):
    """Pixels, scaled inside, times weights; the metadata say that pixels go in as they are."""
    last = layout == "NHWC"
    shape = ["N", *size, channels] if last else ["N", channels, *size]
    nodes = [node("Div", ["image", "range"], ["scaled"])]
    nodes += [node("Transpose", ["scaled"], ["first"], perm=[0, 3, 1, 2])] if last else []
    nodes += [node("Conv", ["first" if last else "scaled", "k"], ["c"]), node("Sigmoid", ["c"], ["s"])]
    nodes += [node("GlobalAveragePool", ["s"], ["mean"]), node("Flatten", ["mean"], ["logits"])]
    weights = {"range": np.float32(255), "k": random(1, 5, channels, 2, 2)}
    model = build(nodes, {"image": shape}, {"logits": ["N", 5]}, weights)
    entry = model.metadata_props.add()
    entry.key = meaning.KEY
    entry.value = Meaning({"image": InputMeaning("image", normalized_by=("Rescaling",))}).text()
    return model


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_photo_is_explained_as_its_pixels(layout, channels, tmp_path):
    method = GradientInput(pixels_model(channels=channels, layout=layout))
    path = saved(tmp_path / "a.png", RGB)
    pixels = (RGB if channels == 3 else LUMA[..., None])[None].astype(np.float32)
    pixels = pixels if layout == "NHWC" else np.moveaxis(pixels, 3, 1)
    expected = method.explain(pixels)
    method.export(tmp_path / "e.onnx")
    for explain in (method.explain, onnxattr.load(tmp_path / "e.onnx").explain):
        for given in (path, str(path), [path], Image.fromarray(RGB), tmp_path):
            np.testing.assert_allclose(explain(given), expected, rtol=1e-5, atol=1e-7)
            (tmp_path / "e.onnx").unlink(missing_ok=True)
    np.testing.assert_array_equal(method.predict(path), method.predict(pixels))
    np.testing.assert_array_equal(method(path).inputs["image"], pixels)


def test_lists_and_folders_of_photos(tmp_path):
    method = GradientInput(pixels_model())
    photos = np.random.default_rng(3).integers(0, 256, (4, 4, 6, 3), np.uint8)
    for number, photo in enumerate(photos):
        saved(tmp_path / f"{3 - number}.png", photo)
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / ".hidden.png").write_text("no photo")
    saved(tmp_path / f"a{paths.WRITTEN}", RGB)
    x = np.moveaxis(photos[::-1].astype(np.float32), 3, 1)
    np.testing.assert_array_equal(method.explain(tmp_path, [0, 1, 2, 3]), method.explain(x, [0, 1, 2, 3]))
    two = [tmp_path / "3.png", tmp_path / "0.png"]
    np.testing.assert_array_equal(method.explain(two), method.explain(x[[3, 0]]))
    np.testing.assert_array_equal(method.explain(map(str, two)), method.explain(two))
    pairs = ((path, label) for path, label in zip(two, (4, 2), strict=True))
    np.testing.assert_array_equal(method.explain(pairs), method.explain(two, [4, 2]))
    found = list(read_samples(tmp_path, prepare(pixels_model()), 3))
    assert [part.names for part in found] == [("0.png", "1.png", "2.png"), ("3.png",)]


def test_photos_of_several_sizes(tmp_path):
    method = GradientInput(pixels_model(("H", "W")))
    small, large = saved(tmp_path / "a.png", RGB), saved(tmp_path / "b.png", np.repeat(RGB, 2, 0))
    assert [len(part.names) for part in read_samples([small, small, large], method.prepared)] == [2, 1]
    assert method.explain([small, small]).shape[0] == 2
    with pytest.raises(ShapeError, match="different shapes"):
        method.explain([small, large], [1, 2])
    with pytest.raises(TargetError, match="Targets for 2 samples"):
        method.explain([small, large], [1, 2, 3])


WRONG = {
    "folder without": (lambda p: (p / "x").mkdir(), "x", "a folder without photos"),
    "folders in it": (lambda p: (p / "x" / "cats").mkdir(parents=True), "x", "Name its folders themselves: cats"),
    "mixed": (lambda p: np.save(p / "a.npy", RGB), ".", "several kinds"),
    "unknown": (lambda p: (p / "x.doc").write_text("a"), "x.doc", "files of this kind are not read"),
    "damaged table": (lambda p: (p / "x.parquet").write_text("a"), "x.parquet", "cannot be read as a Parquet file"),
    "missing": (lambda p: None, "y.png", "there is no such file"),
    "size": (lambda p: saved(p / "b.png", RGB[:3]), "b.png", r"has 6 x 3 pixels; the input 'image' takes 6 x 4"),
    "rank": (lambda p: np.save(p / "b.npy", RGB[0]), "b.npy", "rank 4"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_files_that_do_not_fit(case, tmp_path):
    make, name, says = WRONG[case]
    saved(tmp_path / "a.png", RGB)
    make(tmp_path)
    with pytest.raises(OnnxAttrError, match=says):
        Saliency(pixels_model()).explain(tmp_path / name)


def test_models_that_do_not_say_how_photos_go_in(tmp_path):
    model = pixels_model()
    del model.metadata_props[:]
    with pytest.raises(
        ShapeError, match=r"how a photo becomes its input 'image', float \(N, 3, 4, 6\).*--preprocess"
    ):
        Saliency(model).explain(saved(tmp_path / "a.png", RGB))
    table = build(
        [node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 3]}, {"y": ["N", 2]}, {"w": random(1, 3, 2)}
    )
    with pytest.raises(ShapeError, match=r"takes no photo; its inputs are 'x', float \(N, 3\)"):
        Saliency(table).explain(tmp_path / "a.png")


def test_tables_and_arrays_by_their_names(tmp_path):
    table = build(
        [node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 3]}, {"y": ["N", 2]}, {"w": random(1, 3, 2)}
    )
    method, x = GradientInput(table), np.random.default_rng(4).normal(size=(5, 3)).astype(np.float32)
    np.savetxt(tmp_path / "x.csv", x, delimiter=",", fmt="%.9g")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "one.npy", x[0])
    np.savez(tmp_path / "x.npz", x=x)
    expected = method.explain(x)
    for name in ("x.csv", "x.npy", "x.npz"):
        found = method.explain(tmp_path / name)
        np.testing.assert_allclose(
            found["x"] if name == "x.npz" and isinstance(found, dict) else found, expected
        )
        sizes = [len(part.names) for part in read_samples(tmp_path / name, method.prepared, 2)]
        assert sizes == [2, 2, 1]
    np.testing.assert_array_equal(method.explain(tmp_path / "one.npy"), expected[:1])
    np.testing.assert_array_equal(method.explain([tmp_path / "x.npy"] * 2), np.concatenate([expected] * 2))
