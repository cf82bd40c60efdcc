"""`make bench`: what it selects, what it keeps and what it writes; a real race of two networks' sides."""

import json

import numpy as np
import onnx
import pytest

from benchmarks.bench import __main__ as bench
from benchmarks.bench import details, files, kinds, preparation, quick, report
from benchmarks.bench import results as bench_results
from benchmarks.bench.cases import CASES, case
from benchmarks.bench.race import processes, race
from benchmarks.bench.results import Results, ratio, spread
from onnxattr import vjp
from onnxattr.session import Session

STEPS = (10, 20, 50, 100, 200)


def selected(step, *words):
    return [cell.key for group in bench.selected(step, words) for cell in group]


@pytest.mark.parametrize(
    ("step", "words", "expected"),
    [
        ("headline", ("resnet50", "gradient"), ["gradient/ResNet50/8 rows/1 thread"]),
        ("headline", ("vgg16", "gradient"), ["gradient/VGG16/2 rows/1 thread"]),
        ("headline", ("lstm", "ig", "squaregrad"), [f"{m}-50/LSTM/1 rows/1 thread" for m in ("IG", "SquareGrad")]),
        ("methods", ("wide mlp", "gradient", "all threads", "8 rows"), ["gradient/wide MLP/8 rows/all threads"]),
        ("growth", ("ig", "wide mlp", "1 thread"), [f"IG-{n}/wide MLP/1 rows/1 thread" for n in STEPS]),
    ],
)  # fmt: skip
def test_only_selects(step, words, expected):
    assert selected(step, *words) == expected


def test_every_network_and_method_is_planned():
    headline = selected("headline")
    assert len(headline) == 3 * len(CASES) == len(set(headline))
    keys = {key for step in bench.RACES for key in selected(step)}
    for network in CASES.values():
        for rows in (1, 8, 32):
            assert f"gradient/{network.name}/{rows} rows/1 thread" in keys
            assert {f"{m}-50/{network.name}/{rows} rows/1 thread" for m in ("IG", "SquareGrad")} <= keys


ALONE, RACED = {"onnxattr": [1.0], "forward": [1.0]}, {"onnxattr": [1.0], "TensorFlow": [1.0]}


@pytest.mark.parametrize(
    ("times", "missing", "growth", "methods"),
    [
        (None, {}, True, True),
        (ALONE, {}, False, True),
        (RACED, {}, False, False),
        (ALONE, {"TensorFlow": "no package has it"}, False, False),
    ],
)
def test_an_entry_without_rivals_stands_for_none_with_them(tmp_path, times, missing, growth, methods):
    results = Results(tmp_path / "speed.json")
    asked = ("gradient", "wide mlp", "1 rows", "1 thread")
    (alone,), (raced,) = (
        [c for group in bench.selected(s, asked) for c in group] for s in ("growth", "methods")
    )
    assert alone.key == raced.key
    if times:
        results.add(alone.key, {"times": times, "missing": missing})
    assert (bench.wanted(alone, results, False), bench.wanted(raced, results, False)) == (growth, methods)


def test_unknown_words_are_refused():
    with pytest.raises(SystemExit, match="resnet51"):
        selected("headline", "resnet51")


def test_sizes_belong_to_a_name():
    small = case("MobileNetV2@96")
    assert small.shape == (96, 96, 3)
    assert small.keras == ("application", "MobileNetV2", 96)
    with pytest.raises(SystemExit, match="AlexNet"):
        case("AlexNet")


ENTRY = {
    "times": {
        "forward": {"cpu": [1.0, 1.0, 1.0], "wall": [1.0, 1.0, 1.0], "first": 1.0},
        "onnxattr": {"cpu": [2.0, 2.2, 1.8], "wall": [1.0, 1.0, 1.0], "first": 1.0},
        "TensorFlow": {"cpu": [4.0, 3.0, 3.6], "wall": [0.5, 0.5, 0.5], "first": 1.0},
    },
    "missing": {"onnx-ad": "KeyError: no rule"},
    "difference": {"TensorFlow": 0.5},
    "load": 1.0,
    "machine": "A",
}


def test_ratios_are_of_medians_with_the_middle_half():
    middle, half = ratio(ENTRY, "TensorFlow", "onnxattr")
    assert middle == pytest.approx(1.8)
    rounds = [2.0, 3.0 / 2.2, 2.0]
    assert half == pytest.approx((np.quantile(rounds, 0.75) - np.quantile(rounds, 0.25)) / 2)
    assert ratio(ENTRY, "TensorFlow", "onnxattr", "wall")[0] == 0.5
    assert ratio(ENTRY, "onnx-ad", "onnxattr") is None
    assert spread([1.0, 2.0]) == 0


def test_results_are_kept_until_the_code_changes(tmp_path):
    path = tmp_path / "speed.json"
    results = Results(path)
    assert not results.current("gradient/LSTM/8 rows/1 thread")
    results.add("gradient/LSTM/8 rows/1 thread", ENTRY)
    again = Results(path)
    assert again.current("gradient/LSTM/8 rows/1 thread")
    again.source = "another state"
    assert not again.current("gradient/LSTM/8 rows/1 thread")


def test_tables_are_written_between_their_marks(tmp_path):
    results = Results(tmp_path / "speed.json")
    results.add("gradient/LSTM/8 rows/1 thread", ENTRY)
    results.add("gradient/VGG16/32 rows/1 thread", {"skipped": "too long"})
    page = tmp_path / "speed.md"
    page.write_text(
        f"before\n{report.mark('gradient')}\nold\n<!-- end -->\nafter\n{report.mark('missing')}\n<!-- end -->\n"
    )
    report.write(results.data, page)
    text = page.read_text()
    assert "| LSTM | 8 | 250.0 | 2.00 ±0.10 | 1.80 ±" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert "- onnx-ad, gradient: KeyError: no rule: LSTM" in text
    report.write(json.loads((tmp_path / "speed.json").read_text()), page)
    assert page.read_text() == text


def test_the_page_has_a_place_for_every_table():
    text = (bench.ROOT / "docs" / "speed.md").read_text()
    assert [name for name in report.TABLES if report.mark(name) not in text] == []


@pytest.mark.parametrize("kind", preparation.SIZES)
def test_stacks_have_as_many_nodes_as_asked(kind):
    model = preparation.stack(kind, 50)
    assert 50 <= len(model.graph.node) <= 52
    onnx.checker.check_model(model)
    shape = (2, 16) if kind == "products" else (2, 16, 8, 8)
    (y,) = Session(model).run({"x": np.ones(shape, np.float32)})
    assert np.isfinite(y).all()
    assert vjp(model).graph.output[-1].name == "x_gradient"


def test_growth_is_relative_to_the_first_size():
    def timed(seconds):
        return {"times": {"onnxattr": {"cpu": [seconds]}}, "machine": "A"}

    measured = {f"IG-{n}/LSTM/1 rows/1 thread": timed(1.0 + n) for n in (10, 20, 50)}
    table = details.growth({"measured": measured}, "IG")
    expected = f"| LSTM | 1.00 | {21 / 20 / 1.1:.2f} | {51 / 50 / 1.1:.2f} | - | - | A |"
    assert expected in table
    # Times of another machine are not divided by those of this one.
    measured["IG-100/LSTM/1 rows/1 thread"] = timed(7.0) | {"machine": "B"}
    assert expected in details.growth({"measured": measured}, "IG")


def test_measurements_name_their_machine(tmp_path, monkeypatch):
    path = tmp_path / "speed.json"
    Results(path).add("gradient/LSTM/8 rows/1 thread", ENTRY)
    monkeypatch.setattr(bench_results, "machine", lambda: {"processor": "another"})
    results = Results(path)
    for rows in (1, 32):
        results.add(f"gradient/LSTM/{rows} rows/1 thread", ENTRY)
    machines = {key: entry["machine"] for key, entry in results.measured.items()}
    assert list(machines.values()) == ["A", "B", "B"]
    assert results.data["machines"]["B"] == {"processor": "another"}
    assert "- machine B: processor another, measured " in report.setting(results.data)
    assert [line[-4:] for line in report.gradients(results.data, 1, (1, 8, 32)).splitlines()[2:]] == [
        " B |", " A |", " B |"
    ]  # fmt: skip


def test_kernels_are_told_apart():
    """A convolution, a ReLU, an overlapping max-pool: every kind of work has its nodes."""
    from support.tiny_graphs import parse

    model = parse(
        """m (float[N,16,16,16] x) => (float[N,16,7,7] y)
        <float[16,16,3,3] w = {0}> {
            c = Conv<pads=[1,1,1,1]>(x, w)
            r = Relu(c)
            y = MaxPool<kernel_shape=[3,3], strides=[2,2]>(r)
        }"""
    )
    weights = np.random.default_rng(0).normal(size=(16, 16, 3, 3)).astype(np.float32)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "w"))
    gradient = vjp(model)
    ((times, optimized),) = kinds.profiled([gradient], 2)
    found = {kinds.kinds(gradient, optimized).get(name) for name in times}
    assert {
        "convolutions forth",
        "convolutions back",
        "masks",
        "reorders",
        "pools forth",
        "pools back",
    } <= found
    assert None not in found


@pytest.mark.slow
def test_sides_compute_the_same(fresh_keras):
    """TensorFlow and Xplique beside this project, each in a process of its own."""
    pytest.importorskip("xplique")
    network = CASES["LSTM"]
    files.make(network)
    with processes(["onnxattr", "TensorFlow"], network.name, 1) as workers:
        for task, most in {"gradient": 1e-4, "IG": 1e-4, "SquareGrad": 0.5}.items():
            entry = race(workers, task, 2, 8, most=3)
            assert entry["missing"] == {}
            (difference,) = entry["difference"].values()
            assert difference < most
            times = entry["times"]["onnxattr"]
            assert len(times["cpu"]) >= 3
            assert all(seconds > 0 for seconds in (*times["cpu"], *times["wall"]))


def test_a_side_that_cannot_says_why():
    with processes(["TensorFlow"], "MiniLM", 1) as workers:
        entry = race(workers, "gradient", 1)
    assert "no package has it" in entry["missing"]["TensorFlow"]
    assert entry["times"] == {}


def test_quick_tells_what_is_a_tenth_slower():
    held = {"gradient, LSTM": 4.0, "IG, LSTM": 50.0, "gone": 1.0}
    assert quick.losses(held, {"gradient, LSTM": 4.39, "IG, LSTM": 30.0, "new": 9.0}) == []
    (loss,) = quick.losses(held, {"gradient, LSTM": 4.41, "IG, LSTM": 50.0})
    assert loss == "gradient, LSTM: 4.00 predictions before, 4.41 now"


@pytest.mark.slow
def test_quick_ends_with_an_error_where_something_is_slower(monkeypatch, tmp_path):
    monkeypatch.setattr(quick, "PATH", tmp_path / "quick.json")
    monkeypatch.setattr("sys.argv", ["quick", "--write", "--only", "gradient, LSTM"])
    quick.main()
    held = json.loads(quick.PATH.read_text())
    assert 1 < held["ratios"]["gradient, LSTM, 8 rows"] < 20
    held["ratios"]["gradient, LSTM, 8 rows"] /= 2
    quick.PATH.write_text(json.dumps(held))
    monkeypatch.setattr("sys.argv", ["quick", "--only", "gradient, LSTM"])
    with pytest.raises(SystemExit, match="gradient, LSTM, 8 rows"):
        quick.main()
