"""What pictures make of masked arrays, of what is no number, of bytes in other types, and of marks that do not fit."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from onnxattr import plots
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.plots.images import displayable
from onnxattr.plots.tokens import tokens_html
from onnxattr.results.explanation import Explanation

PHOTOS = np.random.default_rng(0).random((3, 8, 10, 3))
MASKED = np.ma.array([[1.0, 2.0], [-3.0, 4.0]], mask=[[False, True], [False, False]])


def test_what_a_mask_hides_is_no_number():
    shown = plots.grid([np.ones((2, 2, 3))], {"M": [MASKED]}, title="t")
    np.testing.assert_array_equal(np.ma.getmaskarray(shown.axes[1].images[-1].get_array()), MASKED.mask)
    bars = plots.bars(["a", "b"], MASKED[0], title="t")
    assert [bar.get_width() for bar in next(ax for ax in bars.axes if ax.patches).patches] == [0, 1]
    spans = tokens_html([["a", "b"]], [MASKED[0]])[0]
    assert spans.count('title="nan"') == 1
    assert plots.color_limits(MASKED) == plots.color_limits(np.array([1.0, -3.0, 4.0]))


@pytest.mark.parametrize("given", [np.array([1j, 2]), np.array(["a", "b"]), np.array([None, "x"])])
def test_what_is_no_number_is_refused(given):
    for draw in (
        lambda: plots.heatmap(Figure().add_subplot(), given[None]),
        lambda: plots.bars(["a", "b"], given, title="t"),
        lambda: plots.summary(["a", "b"], given[None], title="t"),
        lambda: plots.strips([given], [given], title="t"),
        lambda: plots.tokens([["a", "b"]], [given], title="t"),
        lambda: plots.plot_feature_impact(given),
    ):
        with pytest.raises(ShapeError, match="no array of real numbers"):
            draw()


def test_masks_of_another_size_lie_over_the_whole_image():
    mask = np.zeros((4, 5), bool)
    mask[1:3, 2:4] = True
    for size in ((4, 5), (8, 10), (32, 20)):
        figure = plots.grid(
            [np.ones((*size, 3))], {"M": [np.ones(size)]}, title="t", marks=plots.Marks([mask])
        )
        for ax in [ax for ax in figure.axes if ax.images]:
            lines = np.concatenate([path.vertices for part in ax.collections for path in part.get_paths()])
            share = np.array(size[::-1]) / (5, 4)
            # Contours go half-way between the places of two elements.
            np.testing.assert_allclose(lines.min(axis=0), (2, 1) * share - 0.5)
            np.testing.assert_allclose(lines.max(axis=0), (4, 3) * share - 0.5)
            assert (*ax.get_xlim(), *ax.get_ylim()) == (-0.5, size[1] - 0.5, size[0] - 0.5, -0.5)


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ({"masks": [np.ones((8, 10))] * 2}, "masks for 2 images, and 3"),
        ({"masks": np.ones((3, 8, 10, 1))}, r"a mask has shape \(8, 10, 1\)"),
        ({"boxes": [[(1, 2, 3, 4)]]}, "boxes for 1 images, and 3"),
        ({"boxes": [(1, 2, 3, 4)] * 3}, r"boxes of an image have shape \(4,\)"),
        ({"boxes": [[(1, 2, 3)]] * 3}, r"boxes of an image have shape \(1, 3\)"),
        ({"boxes": [[], [], [(5, 5, 2, 2)]]}, r"the box \[5.0, 5.0, 2.0, 2.0\] is none"),
        ({"boxes": [[], [], [(np.nan, 5, 2, 2)]]}, "is none"),
        ({"labels": [["a"]]}, "labels for 1 images, and 3"),
        ({"labels": [["a"]] * 3}, "there are none"),
        ({"boxes": [[(1, 2, 3, 4)] * 2] * 3, "labels": [["a"]] * 3}, "1 labels for 2 boxes of an image"),
    ],
)
def test_marks_that_do_not_fit(marks, message):
    with pytest.raises(ShapeError, match=message):
        plots.grid(PHOTOS, {"M": np.ones((3, 8, 10))}, title="t", marks=plots.Marks(**marks))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float16, np.float32])
def test_bytes_look_alike_in_every_type(dtype):
    photo = np.resize(np.array([7, 40, 120], dtype), (6, 5, 3))
    np.testing.assert_allclose(displayable(photo), photo.astype(float) / 255)


ROW, TWO = np.array([1.0, 2.0, -1.0]), np.ones((2, 5, 3))


def strips(**options):
    return plots.strips(TWO, TWO, title="t", **options)


def grid(**options):
    return plots.grid(PHOTOS, {"M": np.ones((3, 8, 10))}, title="t", **options)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.waterfall("abc", ROW, title="t", start=np.nan, end=1), "start=nan; expected a finite"),
        (lambda: plots.waterfall("abc", ROW, title="t", start=0, end=np.inf), "end=inf; expected a finite"),
        (lambda: plots.waterfall("abc", ROW, title="t", start=None, end=1), "start=None; expected a number"),
        (lambda: plots.tabular("abc", ROW, title="t", score="high"), "score='high'; expected a number"),
        (lambda: plots.tabular("abc", ROW, title="t", top=2.5), "top=2.5; expected at least 1, a whole"),
        (lambda: plots.summary("abc", TWO[0], title="t", top=None), "top=None; expected at least 1, a whole"),
        (lambda: strips(sampling_rate=np.nan), "sampling_rate=nan; expected a finite number above 0"),
        (lambda: strips(sampling_rate=0), "sampling_rate=0; expected a finite number above 0"),
        (lambda: strips(width=np.nan), "width=nan; expected a finite number above 0"),
        (lambda: strips(percentile="99"), "percentile='99'; expected a number"),
        (lambda: strips(channels=["x"]), "1 channels for 3 channels of a series; expected one for each"),
        (lambda: strips(names=["x"]), "1 names for 2 series"),
        (lambda: strips(captions=["x"] * 3), "3 captions for 2 series"),
        (lambda: grid(captions=["x"]), "1 captions for 3 images"),
        (lambda: grid(notes={"M": ["x"]}), "1 notes of M for 3 images"),
        (lambda: grid(notes={"N": ["x"] * 3}), r"name \['N'\]; the methods are \['M'\]"),
        (lambda: grid(styles={"N": "cam"}), r"name \['N'\]; the methods are \['M'\]"),
        (lambda: plots.tokens([["a"]] * 2, [[1.0]] * 2, title="t", names=["x"]), "1 names for 2 texts"),
        (
            lambda: plots.tokens([[7, 8]], [[1.0, 2]], title="t"),
            r"tokens hold 7.*convert_ids_to_tokens\(ids\)",
        ),
        (lambda: plots.tokens(np.array([[7]]), [[1.0]], title="t"), r"tokens hold .*7"),
    ],
)
def test_what_is_given_beside_is_checked(draw, message):
    with pytest.raises((ParameterError, ShapeError), match=message):
        draw()


def test_numbers_of_any_type_are_numbers():
    plots.waterfall("abc", ROW, title="t", start=np.float32(0), end=np.array(2.0), top=np.int64(2))


def test_tokens_that_hide_attributions_are_said_of_the_callers_code():
    found = Explanation({"x": np.ones((1, 4))}, "M", np.zeros(1), np.ones(1), tokens=(("a", "b"),))
    for draw in (found.plot, found._repr_html_):
        with pytest.warns(UserWarning, match="Text 0 has 2 tokens, 4 attributions") as said:
            draw()
        assert said[0].filename == __file__


def test_a_map_that_channels_share_has_the_name_of_none():
    maps, axes = {"x": np.ones((1, 5, 1))}, {"x": ("row", "step", "channel")}
    found = Explanation(maps, "M", np.zeros(1), np.ones(1), axes=axes, features={"x": ("a", "b", "c")})
    (names,) = [[tick.get_text() for tick in ax.get_yticklabels()] for ax in found.plot().axes[:1]]
    assert names == []
