"""Explanations as HTML and as pictures."""

from html.parser import HTMLParser

import numpy as np
import pytest
from support.results import RNG, explanation, rich

from onnxattr import Explanation
from onnxattr.errors import ParameterError
from onnxattr.results.picture import kind_of


@pytest.fixture(scope="module")
def explained():
    return explanation()


class Page(HTMLParser):
    """Collects tags, texts and the attributes; checks that tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.attributes, self.open = [], [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.setdefault(tag, []).append(dict(attrs))
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_html_escapes_every_name():
    page = Page(rich()._repr_html_())
    assert not page.open
    assert set(page.tags) <= {"div", "b", "table", "tr", "th", "td", "span", "img"}
    text = " ".join(page.texts)
    for shown in (
        '</td><script>alert("1")</script>',
        "A<b>&method",
        "<img src=x>",
        "logits&<i>",
        "<layer>",
        "<x>",
    ):
        assert shown in text
    for attributes in (found for tag in page.attributes.values() for found in tag):
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")


def test_html_says_scores_and_gaps(explained):
    page = Page(explained.named(classes=["cat", "dog"])._repr_html_())
    cells = page.texts
    for score in explained.scores:
        assert f"{score:.3g}".replace("-", "\N{MINUS SIGN}") in cells
    assert f"{100 * explained.relative_gap[1]:.2g} %" in cells
    assert ("cat" in cells) or ("dog" in cells)
    assert page.attributes["img"][0]["src"].startswith("data:image/png;base64,iVBOR")
    assert explained._repr_png_().startswith(b"\x89PNG")


def test_html_of_texts_has_a_span_for_each_token():
    tokens = [["[CLS]", "<b>un", "##fair", "&", "[PAD]"]]
    found = Explanation(
        {"x": np.array([[0.0, 1.0, -0.5, np.nan, 9.0]], np.float32)},
        "M",
        np.array([0]),
        np.array([1.0], np.float32),
    ).named(tokens=tokens)
    page = Page(found._repr_html_())
    spans = page.attributes["span"]
    assert [span["title"] for span in spans] == ["0", "1", "\N{MINUS SIGN}0.5", "nan"]
    assert "rgba(178,24,43,0.850)" in spans[1]["style"]
    assert "rgba(33,102,172,0.425)" in spans[2]["style"]
    assert "<b>un" in page.texts
    assert "fair" in page.texts
    assert "img" not in page.tags


def test_html_without_matplotlib_is_the_table(monkeypatch, explained):
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    assert "img" not in Page(explained._repr_html_()).tags
    assert explained._repr_png_() is None


@pytest.mark.parametrize(
    ("shape", "axes", "more", "kind"),
    [
        ((2, 8, 9, 1), ("row", "height", "width", "channel"), {}, "photo"),
        ((2, 3, 8, 9), (), {}, "photo"),
        ((2, 3, 8, 9, 5), (), {}, "photo"),
        ((2, 50, 3), ("row", "step", "channel"), {}, "series"),
        ((2, 50, 3), (), {}, "series"),
        ((2, 6), (), {}, "table"),
        ((2, 600), (), {}, "series"),
        ((2, 600), (), {"features": {"x": tuple(map(str, range(600)))}}, "table"),
        ((2, 6), (), {"tokens": (("a",) * 6, ("b",) * 5)}, "tokens"),
        ((2, 6, 4), ("row", "token", "embedding"), {}, "tokens"),
    ],
)
def test_the_kind_of_picture(shape, axes, more, kind):
    array = RNG.normal(size=shape).astype(np.float32)
    found = Explanation(
        {"x": array}, "M", np.zeros(2, int), np.zeros(2, np.float32), ("", ""), axes={"x": axes}, **more
    )
    assert kind_of(found, "x") == kind
    assert found.plot().axes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "pie"}, "kind='pie'"),
        ({"of": "z"}, "explained values are"),
        ({"row": 5}, "rows 0 to 2"),
        ({"colour": "red"}, "no options"),
        ({"path": "x.gif"}, r"\.png"),
        ({"top": 0}, "top=0"),
    ],
)
def test_pictures_that_cannot_be_drawn(options, message, explained):
    with pytest.raises(ParameterError, match=message):
        explained.plot(**options)
