"""The numbers behind the pictures: limits, shapes, sizes, and that nothing half-written stays."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure
from PIL import Image

from onnxattr import plots
from onnxattr.errors import OnnxAttrError, ParameterError, ShapeError

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
NAN = np.full((20, 30), np.nan)


def signed(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("values", "percentile", "limits"),
    [
        ([-1.0, 0.5], 100, (-1.0, 1.0)),
        ([-0.5, 4.0], 100, (-4.0, 4.0)),
        ([0.0, 0.5, 2.0], 100, (0.0, 2.0)),
        ([0.0, 1.0, 2.0, 3.0, 1000.0], 75, (0.0, 3.0)),
        ([0.0] * 999 + [5.0], 50, (0.0, 5.0)),  # the percentile is zero: the maximum takes over
        ([0.0, 0.0], 99, (0.0, 1.0)),
        ([-3.0, -2.0], 100, (-3.0, 3.0)),
    ],
)
def test_color_limits(values, percentile, limits):
    assert plots.color_limits(np.array(values), percentile) == limits


@pytest.mark.parametrize(
    ("shape", "axis", "image"),
    [
        ((20, 30), None, None),
        ((20, 30, 1), None, PHOTO),
        ((1, 20, 30), None, PHOTO),
        ((20, 30, 3), None, None),
        ((3, 20, 30), None, PHOTO),
        ((20, 30, 5), None, PHOTO),
        ((5, 20, 30), 0, None),
        ((20, 30, 3), None, np.moveaxis(PHOTO, -1, 0)),
        ((3, 20, 30), None, PHOTO[..., :1] / np.float32(-64)),
        ((3, 3, 3), 0, PHOTO[:3, :3]),
    ],
)
def test_heatmap_sums_channels_whichever_way_they_lie(shape, axis, image):
    attribution = signed(*shape)
    drawn = plots.heatmap(Figure().add_subplot(), attribution, image, channel_axis=axis)
    channel = () if len(shape) == 2 else (0 if shape[0] in (1, 3, 5) else 2,)
    expected = attribution.astype(np.float64).sum(axis=channel)
    np.testing.assert_allclose(drawn.get_array(), expected)
    low, high = drawn.get_clim()
    assert low == -high
    assert high == pytest.approx(np.percentile(np.abs(expected), 99))
    clear_at_zero = drawn.cmap(0.5)[3] == 0
    assert clear_at_zero == (image is not None)


@pytest.mark.parametrize("name", ["GradCAM", "Saliency"])
@pytest.mark.parametrize("value", [0, 1e-30, -2, np.nan])
def test_a_map_of_zeros_is_said(value, name):
    """As of GradCAM for a class that nothing speaks for, whose picture is of the same colour all over."""
    zeros = np.zeros((20, 30), np.float32)
    zeros[3, 4] = value
    found = plots.gallery(PHOTO, {name: zeros, "other": signed(20, 30)}, title="why")
    told = " ".join(text.get_text() for text in found.texts)
    assert ("0 everywhere" in " ".join(told.split())) == (value == 0)


def test_heatmap_of_a_map_without_sign_starts_at_zero():
    drawn = plots.heatmap(Figure().add_subplot(), np.abs(signed(20, 30)), PHOTO)
    assert drawn.get_clim()[0] == 0
    assert drawn.cmap(0.0)[3] == 0
    assert drawn.cmap(1.0)[3] == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.array([[0, 51, 255]], np.uint8), [[0, 0.2, 1]]),
        (np.array([[0, 1, 1]], np.uint8), [[0, 1 / 255, 1 / 255]]),
        (np.array([[0.25, 0.5]]), [[0.25, 0.5]]),
        (np.array([[-1.0, 0.0, 1.0]]), [[0, 0.5, 1]]),
        (np.array([[[0.0, 255.0]]]), [[0, 1]]),
        (np.array([[7.0, 7.0]]), [[7 / 255, 7 / 255]]),
        (np.full((1, 2, 3), 255.0), np.ones((1, 2, 3))),
        (np.array([[0.0, 0.0]]), [[0, 0]]),
        (np.array([[-3.0, -3.0]]), [[0.5, 0.5]]),
    ],
)
def test_displayable(image, expected):
    np.testing.assert_allclose(plots.displayable(image), expected)


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: plots.gallery(
            PHOTO, {f"M{i}": signed(20, 30, 1) for i in range(8)}, title="t", path=path
        ),
        lambda path: plots.gallery(
            PHOTO[..., 0], {"M": signed(20, 30)}, title="$t$", label="a_$b", path=path
        ),
        lambda path: plots.series(signed(150, 1), {"M": signed(150, 1)}, title="t", path=path),
        lambda path: plots.series(signed(9, 2), {"M": signed(9), "L": signed(9, 2)}, title="t", path=path),
        lambda path: plots.tabular(list("abcdef"), signed(6), title="t", top=3, path=path),
        lambda path: plots.tabular(["a"], np.zeros(1), title="t", values=np.ones(1), score=0.5, path=path),
    ],
)
def test_png_is_1600_pixels_wide(draw, tmp_path):
    figure = draw(tmp_path / "new folder" / "picture.png")
    with Image.open(tmp_path / "new folder" / "picture.png") as image:
        image.verify()
        assert image.format == "PNG"
        assert image.width == 1600
        assert image.height == pytest.approx(figure.get_figheight() * 100, abs=1)
    assert [file.name for file in (tmp_path / "new folder").iterdir()] == ["picture.png"]


def test_gallery_texts_do_not_overlap():
    names = [f"A method with a name that is far too long for its column {i}" for i in range(8)]
    figure = plots.gallery(
        PHOTO, {name: signed(20, 30) for name in names}, title="title " * 40, label="class " * 30
    )
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.texts if text.get_text()]
    overlaps = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    assert not overlaps
    assert max(box.x1 for box in boxes) <= 1600
    # The colour bars' numbers stay inside the width of their bars.
    bars = [ax for ax in figure.axes if len(ax.get_xticklabels()) == 3]
    assert len(bars) == 8
    for ax in bars:
        for tick in ax.get_xticklabels():
            assert ax.bbox.x0 - 2 <= tick.get_window_extent().x0
            assert tick.get_window_extent().x1 <= ax.bbox.x1 + 2


def test_tabular_orders_by_magnitude_and_sums_the_rest():
    figure = plots.tabular(list("abcde"), np.array([0.1, -3.0, 0.2, 2.0, 0.4]), title="t", top=2)
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "d", "the other 3 together"]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [-3, 2, 0.7])


def test_series_colours_every_step():
    values = signed(50, 2)
    figure = plots.series(signed(50, 2), {"M": values}, title="t")
    (lines,) = figure.axes[0].collections
    np.testing.assert_allclose(lines.get_array(), values.T.ravel())
    assert lines.get_clim()[0] == -lines.get_clim()[1]


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (
            lambda p: plots.gallery(PHOTO, {"M": signed(1, 20, 30, 3)}, title="", path=p),
            ShapeError,
            "no batch axis",
        ),
        (
            lambda p: plots.gallery(PHOTO, {"M": signed(30, 20)}, title="", path=p),
            ShapeError,
            r"\(20, 30\), as the",
        ),
        (
            lambda p: plots.gallery(np.ones((8, 8)), {"M": signed(8, 8, 8)}, title="", path=p),
            ShapeError,
            "the first axis or the last. Give channel_axis=0",
        ),
        (lambda p: plots.gallery(PHOTO, {"M": NAN}, title="", path=p), ShapeError, "NaN"),
        (lambda p: plots.gallery(signed(2, 20, 30), {}, title="", path=p), ShapeError, "image has shape"),
        (
            lambda p: plots.gallery(PHOTO, {"M": signed(20, 30)}, title="", percentile=0, path=p),
            ParameterError,
            "0",
        ),
        (lambda p: plots.gallery(PHOTO, {}, title="", path=p.with_suffix(".jpg")), ParameterError, r"\.png"),
        (lambda p: plots.series(signed(1, 9, 1), {}, title="", path=p), ShapeError, "no batch axis"),
        (
            lambda p: plots.series(signed(9), {"M": signed(8)}, title="", path=p),
            ShapeError,
            "one value per step",
        ),
        (lambda p: plots.tabular(["a", "b"], signed(1, 2), title="", path=p), ShapeError, "2 names"),
        (lambda p: plots.tabular(["a", "b"], signed(3), title="", path=p), ShapeError, "2 names"),
        (lambda p: plots.tabular(["a"], signed(1), title="", top=0, path=p), ParameterError, "top=0"),
    ],
)
def test_errors_leave_no_file(draw, error, message, tmp_path):
    with pytest.raises(error, match=message):
        draw(tmp_path / "picture.png")
    assert list(tmp_path.iterdir()) == []


def test_failing_write_keeps_the_old_file_and_leaves_no_partial_one(tmp_path, monkeypatch):
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"old")

    def full_disk(self, file, **_):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", full_disk)
    with pytest.raises(ParameterError, match="No space left"):
        plots.gallery(PHOTO, {"M": signed(20, 30)}, title="t", path=picture)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("picture.png", b"old")]


def test_pyplot_stays_unloaded():
    code = (
        "import sys, numpy as np\n"
        "from onnxattr import plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        "plots.gallery(np.zeros((4, 4)), {'M': np.ones((4, 4))}, title='t')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(OnnxAttrError, match=r"pip install 'onnxattr\[plot\]'"):
        plots.tabular(["a"], np.ones(1), title="t")


@pytest.mark.parametrize(("side", "between"), [(63, "nearest"), (64, "lanczos")])
def test_images_of_few_pixels_are_squares(side, between):
    ax = Figure().add_subplot()
    plots.heatmap(ax, signed(side, 80), np.full((side, 80, 3), 0.5))
    assert ax.images[0].get_interpolation() == between


def test_numbers_of_a_waterfall_stand_clear_of_its_bars_and_lines():
    amounts = np.array([-0.16, 0.068, 0.05, 0.036, 0.015, 0.0098, -0.0063])
    figure = plots.waterfall(list("abcdefg"), amounts, title="why", start=-0.017, end=-0.0045)
    figure.canvas.draw()
    (ax,) = [ax for ax in figure.axes if len(ax.patches) > len(amounts)]
    for bar, text in zip(ax.patches, ax.texts, strict=False):
        end = text.get_window_extent()
        box = bar.get_window_extent()
        assert end.x0 >= box.x1 or end.x1 <= box.x0
        assert text.get_path_effects()


def test_a_score_of_rounding_alone_is_written_as_0():
    figure = plots.waterfall(list("ab"), np.array([0.5, np.nan]), title="why", start=-6e-8, end=0.5)
    written = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert "baseline 0" in written
    assert "score 0.5" in written
