"""Runs every command of the pages of docs/start in the order of the page, as a new user does.

``python tests/release/start_pages.py build/start`` makes a fresh clone and a fresh virtual environment for each page
(or those that are named behind it), installs what the page says and runs its blocks in an empty folder; a few files
and variables that the page takes for given are made before. ``run_page`` is the same with a Python that is there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Page:
    """What a page takes for given, and what it says inside its sentences.

    Attributes:
        given: Python that makes it.
        also: Commands that stand in sentences of the page, run after its blocks: Python, or shell behind "$ ".
        files: Files that are there afterwards.
        packages: What the page takes for given of the user's own packages.
    """

    given: str
    also: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


PAGES = {
    "keras": Page(
        """
        import keras, numpy as np
        from keras import layers
        model = keras.Sequential([
            keras.Input((16, 16, 3)), layers.Conv2D(4, 3, activation="relu"), layers.GlobalAveragePooling2D(),
            layers.Dense(5), layers.Softmax(),
        ])
        model.save("model.keras")
        images = np.random.default_rng(0).random((3, 16, 16, 3), np.float32)
        """,
        ("IntegratedGradients(model, output_layer=-2)", "$ onnxattr inspect model.onnx"),
        ("model.onnx", "why.png", "explainer.onnx"),
    ),
    "pytorch": Page(
        """
        import torch
        from torch import nn
        torch.manual_seed(0)
        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv1, self.conv2 = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
                self.bn1, self.bn2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
            def forward(self, x):
                return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))
        class Network(nn.Module):
            def __init__(self):
                super().__init__()
                self.stem, self.layer4 = nn.Conv2d(3, 8, 3), nn.Sequential(Block(), Block())
                self.head = nn.Linear(8, 300)
            def forward(self, x):
                return self.head(self.layer4(torch.relu(self.stem(x))).mean(dim=(2, 3)))
        module = Network().eval()
        images = example_images = torch.rand(2, 3, 16, 16)
        """,
        ("IntegratedGradients(module, sample=example_images)", "$ onnxattr inspect model.onnx"),
        ("model.onnx", "why.png", "explainer.onnx"),
    ),
    "sklearn": Page(
        """
        import numpy as np, pandas
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        columns = ["age", "sleep", "pulse", "steps"]
        frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(60, 4)), columns=columns)
        rows = frame
        pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, frame["age"] > frame["pulse"])
        """,
        ("IntegratedGradients(pipeline, sample=rows)",),
        ("model.onnx", "why.png"),
        ("pandas",),
    ),
    "file": Page(
        """
        import numpy as np, onnx
        from onnx import TensorProto, helper, numpy_helper
        from PIL import Image
        from pathlib import Path
        draw = np.random.default_rng(0)
        nodes = [
            helper.make_node("Conv", ["image", "k"], ["c"]), helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["p"]), helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("MatMul", ["f", "w"], ["logits"]),
        ]
        weights = {"k": draw.normal(size=(6, 3, 3, 3)), "w": draw.normal(size=(6, 3))}
        graph = helper.make_graph(
            nodes, "small", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 32, 32])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
            [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()],
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "model.onnx")
        Path("names.txt").write_text("cat\\ndog\\nowl\\n")
        Path("photos").mkdir()
        for name in ("photo.jpg", "photos/a.jpg", "photos/b.jpg"):
            Image.fromarray(draw.integers(0, 256, (48, 64, 3), np.uint8)).save(name)
        array = draw.random((2, 3, 32, 32), np.float32)
        from onnxattr import IntegratedGradients
        """,
        ('IntegratedGradients("model.onnx")(array)',),
        ("photo.why.png", "explainer.onnx", "maps/a.why.png", "maps/b.why.png"),
    ),
    "contributing": Page(
        "",
        ("$ make help",),
    ),
}


def blocks(page: str) -> list[tuple[str, str]]:
    """The blocks of a page, (language, text)."""
    return _FENCE.findall((ROOT / f"docs/start/{page}.md").read_text())


def requirements(page: str) -> list[str]:
    """What the page installs from a clone."""
    text = "\n".join(code for kind, code in blocks(page) if kind == "sh")
    return re.findall(r"^pip install \"(\.\[[\w,]+\])\"", text, re.MULTILINE)


def check_sentences(page: str) -> None:
    """Ends if what is run beside the blocks no longer stands in the page."""
    text = (ROOT / f"docs/start/{page}.md").read_text()
    blocked = "\n".join(code for _, code in blocks(page))
    for command in PAGES[page].also:
        shown = command.removeprefix("$ ")
        assert f"`{shown}`" in text or shown in blocked, f"{page}: {shown!r} is not in the page"


def run_page(page: str, python: Path, clone: Path, folder: Path) -> None:
    """Runs the blocks and commands of a page but for the installation.

    Args:
        page: The page's name.
        python: The Python of the environment.
        clone: The folder that commands of make are run in.
        folder: An empty folder for all others.

    Raises:
        AssertionError: If a command fails, or leaves out a file.
    """
    check_sentences(page)
    told = PAGES[page]
    environment = os.environ | {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "MPLBACKEND": "Agg",
    }
    environment.pop("PYTHONPATH", None)
    if clone == ROOT:  # the tests run the source tree itself
        environment["PYTHONPATH"] = str(ROOT)
    code = [textwrap.dedent(told.given)]
    code += [text for kind, text in blocks(page) if kind == "python"]
    code += [command for command in told.also if not command.startswith("$ ")]
    _run([str(python), "-c", "\n".join(code)], folder, environment, page)
    lines = [
        line for kind, text in blocks(page) if kind == "sh" for line in text.splitlines() if line and not
        line.startswith("pip install")
    ]  # fmt: skip
    for line in (*lines, *(command[2:] for command in told.also if command.startswith("$ "))):
        command = line.split("#")[0].strip()
        if command.startswith("make "):  # what takes minutes is told, not run
            command = command if command == "make help" else f"make --dry-run {command.removeprefix('make ')}"
        _run(["bash", "-euc", command], clone if command.startswith("make ") else folder, environment, page)
    missing = [name for name in told.files if not (folder / name).is_file()]
    assert not missing, f"{page}: {missing} were not written"


def _run(command: list[str], folder: Path, environment: dict[str, str], page: str) -> None:
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{page}: {command[-1]}\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"


def main(folder: Path, pages: list[str]) -> None:
    """Tries pages, each in a fresh clone and environment."""
    for page in pages or list(PAGES):
        place = folder / page
        shutil.rmtree(place, ignore_errors=True)
        (place / "work").mkdir(parents=True)
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(place / "clone")], check=True)
        venv.create(place / "venv", with_pip=True)
        python = (place / "venv/bin/python").absolute()
        for wanted in (*requirements(page), *PAGES[page].packages):
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wanted]
            subprocess.run(pip, cwd=place / "clone", check=True)
        if not requirements(page):  # its first command makes the environment
            subprocess.run(
                [str(python), "-m", "pip", "install", "--quiet", ".[cpu]"], cwd=place / "clone", check=True
            )
        run_page(page, python, (place / "clone").absolute(), (place / "work").absolute())
        print(f"docs/start/{page}.md: every command ran")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
