"""What is drawn: the colours of known pixels, the lengths of bars, the tokens; and the pictures of the gallery."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from onnxattr import plots
from onnxattr.errors import ShapeError
from onnxattr.plots.sheet import BAD, BLUE, PURPLE, RED
from onnxattr.plots.tokens import pieces_of, tokens_html

RNG = np.random.default_rng(0)
PHOTOS = RNG.random((3, 8, 10, 3)).astype(np.float32)
MINUS = "\N{MINUS SIGN}"


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts if text.get_text()]


def maps_of(figure: Figure) -> list[AxesImage]:
    """The last image of each pair of axes that has a map over a photo or alone."""
    return [ax.images[-1] for ax in figure.axes if ax.images]


def rgb(color) -> np.ndarray:
    from matplotlib.colors import to_rgb

    return np.array(to_rgb(color))


def overlapping(figure: Figure) -> list:
    figure.draw_without_rendering()
    found = [t for t in figure.texts if t.get_text()]
    found += [t for ax in figure.axes for t in (*ax.texts, *ax.get_yticklabels()) if t.get_text()]
    boxes = [(t.get_text(), t.get_window_extent()) for t in found]
    width = figure.bbox.width
    outside = [name for name, box in boxes if box.x0 < -1 or box.x1 > width + 1]
    return outside + [(a, b) for i, (a, x) in enumerate(boxes) for b, y in boxes[:i] if x.overlaps(y)]


class TestColours:
    """Of known pixels, over a photo and without one."""

    values = np.zeros((8, 10), np.float32)
    values[0, 0], values[1, 1], values[2, 2] = 2.0, -2.0, np.nan

    def drawn(self, **options) -> AxesImage:
        return plots.heatmap(Figure().add_subplot(), self.values, percentile=100, **options)

    @pytest.mark.parametrize("image", [None, PHOTOS[0]])
    def test_signs_zero_and_nan(self, image):
        drawn = self.drawn(image=image)
        assert drawn.get_clim() == (-2.0, 2.0)
        colors = drawn.to_rgba(drawn.get_array())
        positive, negative, missing, zero = (colors[i, i] for i in (0, 1, 2, 3))
        assert positive[0] > 2 * positive[2]
        assert negative[2] > 2 * negative[0]
        np.testing.assert_allclose(missing[:3], rgb(BAD), atol=0.01)
        assert missing[3] == 1
        if image is None:
            assert zero[:3].min() > 0.95
        else:
            assert zero[3] < 0.03

    def test_a_map_without_sign_goes_from_nothing_to_purple(self):
        drawn = plots.heatmap(Figure().add_subplot(), np.abs(self.values), percentile=100)
        assert drawn.get_clim() == (0.0, 2.0)
        strong = drawn.to_rgba(np.array([2.0]))[0]
        assert strong[2] > strong[0] > strong[1]

    def test_smooth_maps_lie_over_the_photo_in_its_colours(self):
        ax = Figure().add_subplot()
        drawn = plots.heatmap(ax, np.linspace(-0.01, 1, 80).reshape(8, 10), PHOTOS[0], style="cam")
        np.testing.assert_allclose(ax.images[0].get_array(), PHOTOS[0])
        assert drawn.get_clim()[0] == 0
        assert drawn.get_interpolation() == "bicubic"

    def test_a_small_map_is_stretched_over_the_photo(self):
        ax = Figure().add_subplot()
        drawn = plots.heatmap(ax, np.ones((2, 2)), PHOTOS[0], stretch=True)
        assert tuple(drawn.get_extent()) == tuple(ax.images[0].get_extent()) == (-0.5, 9.5, 7.5, -0.5)
        with pytest.raises(ShapeError, match="as the image"):
            plots.heatmap(ax, np.ones((2, 2)), PHOTOS[0])

    def test_colour_bars_say_where_colours_saturate(self):
        values = np.linspace(-1, 3, 80).reshape(8, 10)
        figure = plots.grid(PHOTOS[:1], {"M": values[None]}, title="t", percentile=30)
        bar = figure.axes[-1]
        limit = np.percentile(np.abs(values), 30)
        labels = [label.get_text() for label in bar.get_xticklabels()]
        assert labels == [
            f"\N{LESS-THAN OR EQUAL TO} {MINUS}{limit:.2g}",
            "0",
            f"\N{GREATER-THAN OR EQUAL TO} {limit:.2g}",
        ]
        assert "30th percentile" in " ".join(reversed(texts(figure)[-2:]))


@pytest.mark.parametrize(
    "images",
    [
        PHOTOS,
        np.moveaxis(PHOTOS, -1, 1),
        (PHOTOS * 255).round().astype(np.uint8),
        (PHOTOS * 255).round(),
        (PHOTOS - PHOTOS.min()) / np.ptp(PHOTOS) * 4 - 2,
    ],
    ids=["0..1", "channels first", "uint8", "bytes in floats", "normalised"],
)
def test_photos_look_alike_whatever_numbers_they_are(images):
    figure = plots.grid(images, {"M": np.ones((3, 8, 10))}, title="t")
    for index in range(3):
        np.testing.assert_allclose(maps_of(figure)[index].get_array(), PHOTOS[index], atol=0.02)


@pytest.mark.parametrize(("images", "methods"), [(1, 1), (4, 1), (5, 1), (7, 1), (15, 1), (2, 3), (1, 11)])
def test_grids_of_any_size_are_legible(images, methods):
    photos, name = RNG.random((images, 6, 6, 3)), "A name of a class that is far too long for its column"
    maps = {f"{name} {index}" if index else "M": RNG.normal(size=(images, 6, 6)) for index in range(methods)}
    figure = plots.grid(
        photos, maps, title=name * 3, names=[name] * images, captions=["score 0.123456"] * images
    )
    drawn = min(images, 12)
    alone = methods == 1 and images > 4
    assert sum(len(ax.images) > 0 for ax in figure.axes) == drawn * (methods + (not alone))
    assert not overlapping(figure)
    assert min(text.get_fontsize() for text in figure.texts) > 8


def test_masks_and_boxes_are_drawn_at_their_pixels():
    mask = np.zeros((8, 10), bool)
    mask[2:5, 3:7] = True
    marks = plots.Marks([mask], [[(1, 2, 6, 7)]], [["a <b>"]])
    figure = plots.grid(PHOTOS[:1], {"M": np.ones((1, 8, 10))}, title="t", marks=marks)
    for ax in [ax for ax in figure.axes if ax.images]:
        lines = np.concatenate([path.vertices for part in ax.collections for path in part.get_paths()])
        np.testing.assert_allclose(lines.min(axis=0), [2.5, 1.5])
        np.testing.assert_allclose(lines.max(axis=0), [6.5, 4.5])
        assert {patch.get_bbox().bounds for patch in ax.patches} == {(0.5, 1.5, 5, 5)}
        assert [text.get_text() for text in ax.texts] == ["a <b>"]


def test_a_waterfall_leads_from_the_baseline_to_the_score():
    figure = plots.waterfall(
        list("abcd"), np.array([1.0, -3.0, 0.5, 0.25]), title="t", start=2.0, end=1.0, top=2
    )
    ax = next(ax for ax in figure.axes if ax.patches)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "b",
        "a",
        "the other 2 together",
        "gap: not attributed",
    ]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [-3, 1, 0.75, 0.25])
    np.testing.assert_allclose([bar.get_x() for bar in ax.patches], [2, -1, 0, 0.75])
    colors = [bar.get_facecolor()[:3] for bar in ax.patches]
    np.testing.assert_allclose(colors[:3], [rgb(BLUE), rgb(RED), rgb(RED)])
    assert [line.get_xdata()[0] for line in ax.lines[-2:]] == [2.0, 1.0]
    assert {"baseline 2", "score 1"} <= {text.get_text() for text in ax.texts}
    assert not overlapping(figure)


def test_bars_of_any_length_are_seen(tmp_path):
    """One of a thousandth of the width too, in its colour; one of length 0 is none."""
    path = tmp_path / "bars.png"
    plots.waterfall(list("abc"), np.array([1.0, 5e-4, 0.0]), title="t", start=0.0, end=1.0005, path=path)
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    red = (np.abs(pixels - np.round(np.multiply(rgb(RED), 255))).max(axis=-1) < 12).any(axis=1)
    assert np.diff(red.astype(int)).clip(0).sum() == 2


@pytest.mark.parametrize("count", [1, 2, 13, 30])
@pytest.mark.parametrize("draw", ["tabular", "bars", "waterfall", "summary"])
def test_tables_of_any_size_are_legible(draw, count):
    names = [
        f"a feature with a name that is much too long for the place that it has, {i}" for i in range(count)
    ]
    amounts, more = RNG.normal(size=count), {"start": 0.0, "end": 1.0} if draw == "waterfall" else {}
    amounts = RNG.normal(size=(40, count)) if draw == "summary" else amounts
    figure = getattr(plots, draw)(names, amounts, values=amounts, title="t", top=30, **more)
    assert not overlapping(figure)
    labels = [label.get_text() for ax in figure.axes for label in ax.get_yticklabels()]
    assert all("\N{HORIZONTAL ELLIPSIS}" in label for label in labels[:count])


def test_a_feature_without_a_number_is_marked():
    figure = plots.bars(["a", "b"], np.array([1.0, np.nan]), title="t")
    (ax,) = [ax for ax in figure.axes if ax.patches]
    label = ax.texts[0]
    assert (label.get_text(), ax.get_yticklabels()[0].get_text()) == ("NaN", "b")
    np.testing.assert_allclose(label.get_bbox_patch().get_facecolor()[:3], rgb(BAD))


def test_a_summary_orders_by_mean_size_and_has_every_row():
    values = np.array([[1.0, -4.0, 0.1], [3.0, 4.0, np.nan], [-2.0, 0.0, 0.3]])
    figure = plots.summary(["a", "b", "c"], values, values=values, title="t")
    bars, swarm, *_ = figure.axes
    assert [label.get_text() for label in bars.get_yticklabels()] == ["b", "a", "c"]
    np.testing.assert_allclose([bar.get_width() for bar in bars.patches], [8 / 3, 2, 0.2])
    np.testing.assert_allclose(bars.patches[0].get_facecolor()[:3], rgb(PURPLE))
    points = [part.get_offsets() for part in swarm.collections]
    np.testing.assert_allclose([sorted(p[:, 0]) for p in points[:2]], [[-4, 0, 4], [-2, 1, 3]])
    assert [len(p) for p in points] == [3, 3, 2]
    np.testing.assert_allclose(swarm.collections[1].get_array(), [0.5, 1, 0])


def test_series_of_several_channels_have_one_scale():
    x, values = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 3))
    values[4, 1] = np.nan
    figure = plots.strips([x], [values], title="t", channels=["a", "b", "c"], percentile=100)
    parts = [part for ax in figure.axes for part in ax.collections if isinstance(part, LineCollection)]
    lines = [part for part in parts if part.get_array() is not None]
    assert len(lines) == 3
    limit = np.nanmax(np.abs(values))
    for place, part in enumerate(lines):
        np.testing.assert_allclose(part.get_array().filled(np.nan), values[:, place])
        assert part.get_clim() == (-limit, limit)
    np.testing.assert_allclose(lines[1].to_rgba(lines[1].get_array())[4][:3], rgb(BAD), atol=0.01)
    many = plots.strips([RNG.normal(size=(20, 9))], [RNG.normal(size=(20, 9))], title="t")
    assert maps_of(many)[0].get_array().shape == (9, 20)
    assert not overlapping(figure)


@pytest.mark.parametrize(
    ("tokens", "shown"),
    [
        (["un", "##fair", "!"], ["un", "fair", " !"]),
        (["[CLS]", "a", "[SEP]", "[PAD]", "[PAD]"], ["[CLS]", " a", " [SEP]"]),
        (["\u2581The", "\u2581un", "fair", "."], ["The", " un", "fair", "."]),
        (["<s>", "The", "\u0120end", "s", "</s>"], ["<s>", " The", " end", "s", " </s>"]),
        (["##", "a"], ["##", " a"]),
        (["<|startoftext|>", "un", "fair</w>", "!</w>"], ["<|startoftext|>", " un", "fair", " !"]),
        (["Hi", "<|eot_id|>", "\u0120you"], ["Hi", " <|eot_id|>", " you"]),
        (["\u2581", "a"], ["\N{OPEN BOX}", "a"]),
    ],
)
def test_subwords_are_joined(tokens, shown):
    found = pieces_of(tokens, np.arange(len(tokens)))
    assert [" " * piece.spaced + piece.text for piece in found] == shown


def test_tokens_have_the_colour_of_their_attribution():
    rows = [["good", "bad", "so-so"], ["$x$", "[PAD]"]]
    figure = plots.tokens(
        rows, [np.array([2.0, -2.0, 0.0]), np.array([np.nan, 9.0])], title="t", names=["p", "q"]
    )
    patches = {patch.get_gid(): patch.get_facecolor() for patch in figure.artists if patch.get_gid()}
    assert list(patches) == ["good", "bad", "so-so", "$x$"]
    assert patches["good"][0] > 2 * patches["good"][2]
    assert patches["bad"][2] > 2 * patches["bad"][0]
    assert min(patches["so-so"][:3]) > 0.95
    np.testing.assert_allclose(patches["$x$"][:3], rgb(BAD), atol=0.01)
    with pytest.raises(ShapeError, match="2 tokens, and attributions of shape"):
        plots.tokens([["a", "b"]], [np.ones((2, 4))], title="t")


@pytest.mark.parametrize("draw", [plots.tokens, tokens_html])
def test_attributions_behind_the_last_token_are_said(draw):
    more = {"title": "Text"} if draw is plots.tokens else {}
    with pytest.warns(
        UserWarning, match=r"Text 1 has 2 tokens, 4 attributions; .* hold 60 % of the whole"
    ) as said:
        draw([["a", "b"]] * 2, np.array([[1, 2, 0, 1e-3], [1, 3, 2, -4]]), **more)
    assert said[0].filename == __file__


def test_long_texts_are_laid_out_in_lines():
    rows = [["word"] * 90, ["w" * 300, "end"]]
    figure = plots.tokens(rows, [RNG.normal(size=90), np.ones(2)], title="t")
    boxes = [patch.get_window_extent() for patch in figure.artists if patch.get_gid()]
    assert len({round(box.y0) for box in boxes}) >= 6
    assert max(box.x1 for box in boxes) <= figure.bbox.width
    assert not any(
        a.shrunk(0.98, 0.9).overlaps(b.shrunk(0.98, 0.9)) for i, a in enumerate(boxes) for b in boxes[:i]
    )
