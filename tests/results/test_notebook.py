"""Results in a real notebook, executed cell by cell by a kernel: what Jupyter shows of them."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

pytestmark = pytest.mark.slow
TESTS = Path(__file__).resolve().parents[1]

SETUP = """
import sys; sys.path[:0] = {path!r}
import warnings; warnings.simplefilter("ignore")
import numpy as np
from support.small_models import cnn_nhwc, embedding, mlp
from onnxattr import GradCAM, IntegratedGradients, Saliency
images, tables, texts = cnn_nhwc(), mlp(), embedding()
"""
CELLS = {
    "images": "Saliency(images.model)(images.given, [1, 4, 0])",
    "a path": "IntegratedGradients(images.model, steps=9)(images.given, [1, 4, 0])",
    "a layer": "GradCAM(images.model)(images.given)",
    "tables": "IntegratedGradients(tables.model, steps=9)(tables.given)",
    "tokens": "IntegratedGradients(texts.model, steps=9, wrt='embedded', reducer='l2')(texts.given)",
}


class _Pictures(HTMLParser):
    """The tags of a page, and its pictures."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.pictures, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            kind, data = dict(attrs)["src"].split(",", 1)
            assert kind == "data:image/png;base64"
            self.pictures.append(base64.b64decode(data))

    def handle_data(self, data):
        self.texts.append(data.strip())


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The outputs of each cell, by its name."""
    folder = tmp_path_factory.mktemp("notebook")
    cells = [SETUP.format(path=[str(TESTS.parent), str(TESTS)]), *CELLS.values()]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    nbformat.validate(notebook)
    return dict(zip(CELLS, (cell.outputs for cell in notebook.cells[1:]), strict=True))


@pytest.mark.parametrize("name", CELLS)
def test_a_result_at_the_end_of_a_cell_is_shown(name, executed):
    """As a page with names and numbers, as a picture that is not blank, and as text."""
    (output,) = executed[name]
    assert output.output_type == "execute_result"
    data = output.data
    assert data["text/plain"].startswith("Explanation")
    page = _Pictures(data["text/html"])
    assert "script" not in page.tags
    assert any("class" in text for text in page.texts)
    if name == "a path":
        assert any("%" in text for text in page.texts), "the gap as a share of the change of the score"
    picture = base64.b64decode(data["image/png"])
    for png in (picture, *page.pictures):
        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        assert min(pixels.shape[:2]) > 50
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10
