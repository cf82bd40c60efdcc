"""The documentation as a site: every page is found, and notebooks give the numbers that their text tells of."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def pages(entry):
    if isinstance(entry, str):
        return [entry]
    return [page for each in (entry.values() if isinstance(entry, dict) else entry) for page in pages(each)]


def test_every_page_is_in_the_navigation():
    there = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    notebooks = {page for page in pages(CONFIG["nav"]) if page.endswith(".ipynb")}
    assert there == set(pages(CONFIG["nav"])) - notebooks
    made = (ROOT / "docs/notebooks/make.py").read_text()
    assert all(f'"{Path(page).stem}"' in made for page in notebooks)


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory):
    nbformat = pytest.importorskip("nbformat", reason="make docs installs it")
    pytest.importorskip("tokenizers", reason="make docs installs it")
    folder = tmp_path_factory.mktemp("notebooks")
    subprocess.run([sys.executable, ROOT / "docs/notebooks/make.py", folder], check=True)
    return {path.stem: nbformat.read(path, 4) for path in folder.glob("*.ipynb")}


def told(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


@pytest.mark.slow
def test_notebooks(notebooks):
    """A gap below the tolerance, a file that agrees, the word that two sentences share, pictures in each."""
    assert "tiger cat" in told(notebooks["photo"])
    assert float(told(notebooks["photo"]).split("gap ")[1].split("%")[0]) <= 5
    assert float(told(notebooks["photo"]).split("largest difference: ")[1]) < 1e-6
    words = {line.split()[0]: float(line.split()[1]) for line in told(notebooks["text"]).splitlines()[1:]}
    assert max(words, key=words.get) == "guitar"
    assert "malignant" in told(notebooks["table"])
    for notebook in notebooks.values():
        kinds = [
            kind
            for cell in notebook.cells
            for output in cell.get("outputs", [])
            for kind in output.get("data", {})
        ]
        assert "image/png" in kinds


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="make docs installs it")
def test_the_site_builds_without_warnings(notebooks, tmp_path):
    if not list((ROOT / "docs/notebooks").glob("*.ipynb")):
        pytest.skip("make docs runs the notebooks")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        tmp_path / "site",
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    assert all((tmp_path / "site" / page).with_suffix(".html").is_file() for page in pages(CONFIG["nav"]))
