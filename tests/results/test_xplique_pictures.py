"""Pictures under Xplique's names, and galleries."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")


from onnxattr import Explanation, plots
from onnxattr.errors import ShapeError

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)


class TestXpliquesNames:
    """Xplique's plots and ours draw the same arrays in the same colours."""

    @pytest.fixture(autouse=True)
    def pyplot(self):
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        yield pyplot
        pyplot.close("all")

    @pytest.mark.parametrize("absolute", [False, True])
    @pytest.mark.parametrize("clip", [None, 0.5, 10])
    def test_plot_attributions(self, pyplot, absolute, clip):
        xplique = pytest.importorskip("xplique.plots")
        maps = RNG.normal(size=(7, 8, 10)).astype(np.float32)
        images = RNG.random((7, 8, 10, 3)).astype(np.float32)
        options = {"cmap": "jet", "alpha": 0.4, "cols": 3, "img_size": 2.0}
        xplique.plot_attributions(maps, images, absolute_value=absolute, clip_percentile=clip, **options)
        theirs = pyplot.gcf()
        ours = plots.plot_attributions(maps, images, absolute_value=absolute, clip_percentile=clip, **options)
        assert ours is pyplot.gcf()
        assert len(ours.axes) == len(theirs.axes) == 7
        np.testing.assert_allclose(ours.get_size_inches()[0], theirs.get_size_inches()[0])
        for a, b in zip(ours.axes, theirs.axes, strict=True):
            for mine, other in zip(a.images, b.images, strict=True):
                np.testing.assert_allclose(mine.get_array(), other.get_array(), atol=1e-5)
            assert a.images[1].get_cmap().name == b.images[1].get_cmap().name == "jet"
            assert a.images[1].get_alpha() == b.images[1].get_alpha() == 0.4

    @pytest.mark.parametrize(
        ("shape", "size", "axis"),
        [
            ((8, 8, 8), None, None), ((5, 8, 9), None, None), ((5, 8, 8), None, 0), ((8, 8, 5), None, 2),
            ((3, 8, 9), None, 0), ((3, 8, 3), None, 2), ((5, 8, 9), (8, 9), 0), ((5, 8, 9), (5, 8), 2),
            ((8, 8, 8), (8, 8), None), ((1, 1, 5), None, 0),
        ],
    )  # fmt: skip
    def test_channels_of_a_map(self, pyplot, shape, size, axis):
        """The mean is taken over the channels, first or last; where they may be either, the map is refused."""
        given = RNG.normal(size=shape).astype(np.float32)
        image = None if size is None else RNG.random((*size, 3)).astype(np.float32)
        options = {"clip_percentile": None, "normalize_value": False}
        if axis is None:
            with pytest.raises(ShapeError, match="first axis or the last"):
                plots.plot_attribution(given, image, **options)
            return
        plots.plot_attribution(given, image, **options)
        np.testing.assert_allclose(pyplot.gca().images[-1].get_array(), given.mean(axis), rtol=1e-5)
        figure = plots.plot_attributions([given], None if image is None else [image], clip_percentile=None)
        assert figure.axes[0].images[-1].get_array().shape == given.mean(axis).shape

    def test_plot_feature_impact(self, pyplot):
        xplique = pytest.importorskip("xplique.plots")
        values, given = RNG.normal(size=6), RNG.normal(size=6)
        xplique.plot_feature_impact(values, list("abcdef"), given, max_display=4)
        theirs = pyplot.gcf()
        ours = plots.plot_feature_impact(values, list("abcdef"), given, max_display=4)
        for a, b in zip(ours.axes, theirs.axes, strict=True):
            np.testing.assert_allclose([p.get_width() for p in a.patches], [p.get_width() for p in b.patches])
            assert [t.get_text() for t in a.get_yticklabels()] == [t.get_text() for t in b.get_yticklabels()]

    def test_summary_and_series(self, pyplot, tmp_path):
        values = RNG.normal(size=(9, 5))
        figure = plots.summary_plot_tabular(values, values, list("abcde"), max_display=3)
        order = np.argsort(np.abs(values).mean(axis=0))[::-1][:3]
        assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["abcde"[i] for i in order]
        for place, part in enumerate(figure.axes[0].collections):
            np.testing.assert_allclose(part.get_offsets()[:, 0], values[:, order[place]])
        maps = RNG.normal(size=(4, 12, 2))
        figure = plots.plot_timeseries_attributions(
            maps,
            ["a", "b"],
            title="t",
            subtitles=list("wxyz"),
            filepath=tmp_path / "s.png",
            clip_percentile=None,
        )
        for ax, expected in zip(figure.axes, maps, strict=True):
            np.testing.assert_allclose(ax.images[0].get_array(), expected.T / np.abs(expected).max())
        assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
        plots.plot_mean_feature_impact(values)
        assert [p.get_width() for p in pyplot.gca().patches] == pytest.approx(values.mean(axis=0))

    def test_maps_are_of_any_form(self, pyplot):
        for shape in ((2, 8, 10), (2, 8, 10, 1), (2, 1, 8, 10), (2, 3, 8, 10), (2, 8, 10, 3)):
            maps = RNG.normal(size=shape)
            figure = plots.plot_attributions(maps, clip_percentile=None)
            drawn = figure.axes[0].images[0].get_array()
            axis = {(8, 10): (), (8, 10, 1): 2, (1, 8, 10): 0, (3, 8, 10): 0, (8, 10, 3): 2}[shape[1:]]
            mean = maps[0].mean(axis=axis) if axis != () else maps[0]
            np.testing.assert_allclose(drawn, (mean - mean.min()) / np.ptp(mean))
        with pytest.raises(ShapeError, match="2 explanations and 1 images"):
            plots.plot_attributions(np.ones((2, 4, 4)), np.ones((1, 4, 4, 3)))


class TestGallery:
    """The script that draws docs/pictures.md, on its models; the numbers are those of the explanations."""

    @pytest.fixture(scope="class")
    def pictures(self):
        sys.path.insert(0, str(ROOT / "examples"))
        import pictures

        yield pictures
        sys.path.remove(str(ROOT / "examples"))

    @pytest.mark.parametrize(
        "name",
        [
            *("cam", "series", "channels", "table", "summary", "tokens", "boxes"),
            pytest.param("segmentation", marks=pytest.mark.slow),
        ],
    )
    @pytest.mark.filterwarnings("ignore")
    def test_pictures(self, name, pictures, tmp_path):
        found = getattr(pictures, name)(tmp_path)
        assert isinstance(found, Explanation)
        written = {"table": "row"}.get(name, name)
        assert (tmp_path / f"{written}.png").stat().st_size > 5000
        assert np.isfinite(found.scores).all()
        if found.relative_gap is not None:
            assert found.relative_gap.max() < 0.3
        if name == "cam":
            assert found.target_names == ("Egyptian cat", "espresso", "military uniform", "moped")
        if name == "tokens":
            rows = dict(zip(pictures.TEXTS[0].split(), found.numpy()[0].sum(axis=-1), strict=False))
            assert rows["charming"] > 0 > rows["thin"]
        if name == "segmentation":
            inside = found.targets[..., 1] > 0
            share = np.abs(found.numpy()[..., 0])[inside].sum() / np.abs(found.numpy()).sum()
            assert share > 3 * inside.mean()

    def test_committed_pictures_are_there_and_small(self):
        text = (ROOT / "docs" / "pictures.md").read_text()
        for name in (
            "photo",
            "cam",
            "grid",
            "series",
            "channels",
            "row",
            "summary",
            "tokens",
            "segmentation",
            "boxes",
        ):
            assert f"images/{name}.png" in text
            assert (ROOT / "docs" / "images" / f"{name}.png").stat().st_size < 150_000
