"""CONTRIBUTING.md: its examples, run as they stand, and its rooms, walks and paths."""

import pkgutil
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference.op_run import OpRun
from support.explained import close
from support.rooms import ROOMS
from support.small_models import cnn_nchw
from support.tiny_graphs import CT, X, parse, run

from onnxattr import GradientInput, cli, vjp
from onnxattr.autodiff import registry
from onnxattr.autodiff.groups.registry import GROUPS
from onnxattr.autodiff.rewrites import REWRITES
from onnxattr.decompositions.registry import DECOMPOSITIONS
from onnxattr.testing import check_vjp

ROOT = Path(__file__).parents[2]
PAGE, README = ((ROOT / name).read_text() for name in ("CONTRIBUTING.md", "README.md"))


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def code_of(title: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", section(title), re.DOTALL)


@pytest.fixture(autouse=True)
def _tables_as_before():
    """What the examples register is gone after them."""
    tables = registry._RULES, DECOMPOSITIONS, REWRITES, GROUPS
    before = [set(table) for table in tables]
    yield
    for table, names in zip(tables, before, strict=True):
        for name in set(table) - names:
            del table[name]


class Softsquare(OpRun):
    """For onnx's evaluator, which has no kernels of other domains."""

    op_domain = "com.example"

    def _run(self, x):
        return (x**2 / (1 + np.abs(x)),)


@pytest.mark.parametrize(
    ("title", "lines"),
    [
        ("Add an operator", 10),
        ("Add a method", 10),
        ("Override a rule", 5),
        ("Add a node group", 14),
        ("Add a rewrite", 10),
    ],
)
def test_examples_are_short(title, lines):
    for code in code_of(title):
        written = [line for line in code.splitlines() if line and not line.startswith(("from ", "import "))]
        assert len(written) <= lines


def test_operator_by_decomposition():
    decomposition, _, row = code_of("Add an operator")
    scope: dict = {}
    exec(decomposition, scope)
    exec(row, scope)
    case = scope["row"]
    assert check_vjp(case.evaluated(), case.feeds()) < 1e-9
    values = case.feeds()["v0"]
    found = run(vjp(case.model("dynamic")), v0=values, y0_cotangent=CT)
    close(found["y0"], 3 * np.tanh(values / 3))
    close(found["v0_gradient"], CT * (1 - np.tanh(values / 3) ** 2))


def test_operator_by_rule():
    exec(code_of("Add an operator")[1], {})
    text = "m (double[2,3] x) => (double[2,3] y) { y = com.example.Softsquare(x) }"
    model = parse(text, domains="com.example")
    assert check_vjp(model, {"x": X}, new_ops=[Softsquare]) < 1e-6


def test_method(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case, scope = cnn_nchw(), {}
    onnx.save(case.model, "model.onnx")
    (code,) = code_of("Add a method")
    exec(code, scope)
    x, labels = case.given, np.array([1, 4, 0])
    start = x.mean((2, 3), keepdims=True)
    plain = GradientInput(case.model, reducer=None)
    gradients = [
        plain.explain(z, labels) / z for z in (start * (1 - a) + a * x for a in (0.25, 0.5, 0.75, 1))
    ]
    by_hand = ((x - start) * np.mean(gradients, axis=0)).mean(1, keepdims=True)
    close(scope["late"].explain(x, labels), by_hand, 1e-5)


def test_override(tmp_path, monkeypatch):
    """With no biases relevance is kept: x * xbar adds up to y * ybar; and it has a closed form."""
    monkeypatch.chdir(tmp_path)
    model = parse(
        """m (float[2,3] x) => (float[2,2] y)
        <float[3,4] a = {1, 2, -1, 0.5, -0.5, 1, 1.5, -2, 0.25, 1, -1, 3},
         float[4,2] b = {1, -1, 2, 0.5, -2, 1, 0.5, 3}>
        { h = MatMul(x, a) t = Tanh(h) y = MatMul(t, b) }"""
    )
    onnx.save(model, "model.onnx")
    override, method = code_of("Override a rule")
    scope: dict = {}
    exec(override, scope)
    exec(method, scope)
    ct = CT[:, :2]
    found = run(scope["gradient_model"], x=X, y_cotangent=ct)
    close((X * found["x_gradient"]).sum(1), (ct * found["y"]).sum(1), 1e-5)
    a, b = (onnx.numpy_helper.to_array(weight) for weight in model.graph.initializer)
    hidden = X @ a
    close(found["x_gradient"], ct @ b.T * np.tanh(hidden) / hidden @ a.T, 1e-5)
    maps = scope["Relevance"](model).explain(X, np.array([0, 1]))
    close(maps.sum(1), found["y"][[0, 1], [0, 1]], 1e-5)


def test_node_group():
    """Three nodes have one Sigmoid and one product on the way back."""
    (code,) = code_of("Add a node group")
    model = parse(
        "m (float[2,3] x) => (float[2,3] y) <float one = {1}> { e = Exp(x) s = Add(e, one) y = Log(s) }"
    )
    before = vjp(model)
    exec(code, {})
    grouped = vjp(model)
    backward = [
        node.op_type for node in grouped.graph.node if node.op_type not in ("Exp", "Add", "Log", "Identity")
    ]
    assert backward == ["Sigmoid", "Mul"]
    assert len(grouped.graph.node) < len(before.graph.node)
    assert check_vjp(model, {"x": X}) < 1e-6
    for gradient_model in (before, grouped):
        close(run(gradient_model, x=X, y_cotangent=CT)["x_gradient"], CT / (1 + np.exp(-X)), 1e-6)


def test_rewrite():
    (code,) = code_of("Add a rewrite")
    model = parse("m (float[2,3] x) => (float[2,3] y) { z = Neg(x) e = Exp(z) t = Neg(e) y = Neg(t) }")
    before = vjp(model)
    exec(code, {})
    cheaper = vjp(model)
    assert len(cheaper.graph.node) < len(before.graph.node)
    assert len(vjp(model, rewrites=[]).graph.node) == len(before.graph.node)
    for gradient_model in (before, cheaper):
        close(run(gradient_model, x=X, y_cotangent=CT)["x_gradient"], -CT * np.exp(-X), 1e-6)


def test_the_rooms_are_those_of_the_package_in_order():
    cells = re.findall(r"^\| (`.*?) \|", section("The rooms"), re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(cells)) == ROOMS


def test_the_map_of_the_readme_has_every_room_in_twelve_lines():
    map_ = README.split("\n## Folders\n")[1].split("```")[1].strip().splitlines()
    assert len(map_) <= 12
    folders = {room for room in ROOMS if (ROOT / "onnxattr" / room).is_dir()} | {"converters"}
    assert folders <= set(re.findall(r"(\w+)/", " ".join(map_)))


def test_the_walk_from_a_file_enters_its_rooms(tmp_path, monkeypatch):
    """On an ONNX file with an operator of another domain."""
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    text = "m (float[N,3] x) => (float[N,3] y) { y = com.microsoft.Gelu(x) }"
    onnx.save(parse(text, domains="com.microsoft"), "model.onnx")
    np.save("x.npy", X)
    files: set[str] = set()

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_name != "<module>":
            files.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        arguments = "explain model.onnx x.npy --method IntegratedGradients -o maps.npy --picture why.png"
        assert cli.main(arguments.split()) in (0, None)
    finally:
        sys.setprofile(None)
    top = ROOT / "onnxattr"
    entered = {path.relative_to(top).parts[0] for path in map(Path, files) if top in path.parents}
    walk = re.findall(r"^\d+\. \*\*(\w+)\*\*", section("From a file to a heatmap"), re.MULTILINE)
    assert set(walk) - {"converters"} <= entered


@pytest.mark.parametrize("title", ["From a file to a heatmap", "From a cotangent through one rule"])
def test_a_walk_names_each_room_once(title):
    steps = re.findall(r"^\d+\. (.*(?:\n   .*)*)", section(title), re.MULTILINE)
    rooms = [re.match(r"\*\*(\w+)\*\*", step)[1] for step in steps]
    assert len(set(rooms)) == len(rooms)
    assert set(rooms) <= set(ROOMS)
    for room, step in zip(rooms, steps, strict=True):
        folder = ROOT / "converters" if room == "converters" else ROOT / "onnxattr" / room
        for name in re.findall(r"`([\w/]+(?:\.py|/))`", step):
            assert (folder / name).exists(), f"{room}: {name}"


@pytest.mark.parametrize(
    "page", ["CONTRIBUTING.md", "README.md", *sorted(p.name for p in ROOT.glob("docs/*.md"))]
)
def test_paths_and_links_lead_somewhere(page):
    path = ROOT / page if (ROOT / page).exists() else ROOT / "docs" / page
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    named = re.findall(
        r"`((?:onnxattr|converters|tests|docs|examples|benchmarks|requirements)/[\w/.]*)`", text
    )
    for name in re.findall(r"`(onnxattr(?:\.\w+){2,})[`(]", text):
        assert pkgutil.resolve_name(name), name
    missing = [link for link in links if not (path.parent / link).exists()]
    assert not missing + [name for name in named if not (ROOT / name).exists()]


def test_make_help_lists_every_target():
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    targets = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split()
    assert set(targets) == set(re.findall(r"^([a-z-]+):.*  ## .", text, re.MULTILINE))
    named = " ".join(page.read_text() for page in ROOT.glob("docs/*.md")) + PAGE + README
    assert set(re.findall(r"`make ([a-z-]+)", named)) <= set(targets)
