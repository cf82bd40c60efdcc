"""Every rule against central differences, and its float32 graph in ONNX Runtime against the float64 one."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from support.gradient_graphs import assert_close, cotangents_of, gradients_of, nodes_of, run
from support.integer_models import STATIC
from support.reference_ops import NEW_OPS
from support.rule_cases import VARIANTS, Case, case, const, x
from support.rule_cases.tables import CASES

from onnxattr.autodiff.standard import STANDARD
from onnxattr.compile.gradient import vjp
from onnxattr.decompositions.standard import DECOMPOSITIONS
from onnxattr.testing import CORRECTED, as_double, check_vjp


def as_float64(feeds: dict) -> dict[str, np.ndarray]:
    return {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in feeds.items()}


def evaluator(model: onnx.ModelProto) -> ReferenceEvaluator:
    return ReferenceEvaluator(model, new_ops=[*NEW_OPS, *CORRECTED])


def gradients_by_rules(gradient: onnx.ModelProto, feeds: dict, cotangents: dict) -> dict[str, np.ndarray]:
    """What the float64 gradient graph gives in onnx's evaluator."""
    loaded = evaluator(gradient)
    results = loaded.run(None, as_float64(feeds | cotangents))
    return gradients_of(dict(zip(loaded.output_names, results, strict=True)))


def gradients_by_differences(row: Case, feeds: dict, cotangents: dict) -> dict[str, np.ndarray]:
    """Central differences of the float64 forward pass, element by element."""
    forward, feeds, step = evaluator(as_double(row.evaluated())), as_float64(feeds), 1e-5
    names = [name.removesuffix("_cotangent") for name in cotangents]
    found = {}
    for name in row.wrt():
        array = feeds[name]
        gradient = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            shift = np.zeros(array.shape)
            shift[index] = step
            up, down = (forward.run(names, feeds | {name: array + sign * shift}) for sign in (1, -1))
            parts = zip(up, down, cotangents.values(), strict=True)
            gradient[index] = sum(((u - d) * ct).sum() for u, d, ct in parts) / (2 * step)
        found[f"{name}_gradient"] = gradient
    return found


def check_primal(row: Case) -> None:
    """The oracle's forward pass is ONNX Runtime's."""
    primal = row.primal()
    names = [name for name, array in primal.items() if array.dtype.kind == "f"]
    for name, array in zip(
        names, evaluator(as_double(row.evaluated())).run(names, as_float64(row.feeds())), strict=True
    ):
        assert_close(primal[name], array, f"forward pass, {name}")


@pytest.mark.parametrize("row", CASES, ids=str)
def test_rule(row: Case):
    feeds, primal, expected, double = row.feeds(), row.primal(), None, None
    if row.oracle != "onnxruntime":
        check_primal(row)
    if row.oracle == "reference":
        double = vjp(as_double(row.evaluated()), row.wrt())
    if row.oracle != "differences":
        settings = {"runtime": row.oracle, "step": row.step, "tolerance": row.tolerance, "gradient": double}
        check_vjp(row.evaluated(), feeds, wrt=row.wrt(), new_ops=NEW_OPS, directions=2, **settings)
    for variant in VARIANTS if row.dynamic else VARIANTS[:2]:
        gradient = row.gradient(variant)
        onnx.checker.check_model(gradient, full_check=True)
        assert {node.domain for node in nodes_of(gradient.graph)} == {""}
        cotangents = cotangents_of(gradient, primal)
        results = run(gradient, feeds | cotangents)
        for name, array in primal.items():
            assert_close(results[name], array, f"{name}, {variant}")
        found = gradients_of(results)
        if expected is None:
            expected = found
            if double is not None:
                expected = gradients_by_rules(double, feeds, cotangents)
            elif row.oracle == "differences":
                expected = gradients_by_differences(row, feeds, cotangents)
        for name, array in expected.items():
            assert found[name].shape == feeds[name.removesuffix("_gradient")].shape, variant
            assert_close(found[name], array, f"{name}, {variant}")


@pytest.mark.parametrize("count", [3, 9])
def test_spectra_that_are_cut_or_continued(count: int):
    """ONNX Runtime's forward pass of such a DFT is not the one that ONNX defines: only gradients are compared."""
    row = case("DFT", x(2, count, 2), const(8), const(1), inverse=1, onesided=1, opset=20)
    cotangents = {"y0_cotangent": np.random.default_rng(1).normal(size=(2, 8, 1)).astype(np.float32)}
    found = gradients_of(run(vjp(row.model(), row.wrt()), row.feeds() | cotangents))
    expected = gradients_by_differences(row, row.feeds(), cotangents)
    assert_close(found["v0_gradient"], expected["v0_gradient"], "v0_gradient")


def test_every_rule_has_a_row():
    covered = {row.op for row in CASES} | {"If", "Loop", "Scan"}  # those in test_control_flow.py
    covered |= {"QuantizeLinear", "DynamicQuantizeLinear"}  # not derivatives: test_quantized.py
    covered |= {
        "ConvInteger",
        "MatMulInteger",
        "com.microsoft::DynamicQuantizeLSTM",
    }  # nor these: test_integer_operators.py
    assert set(STANDARD) - covered == set()


def test_every_decomposition_has_a_row():
    covered = {row.op for row in CASES} | {f"com.microsoft::{row.op}" for row in CASES}
    elsewhere = {"com.microsoft::QuantizeLinear", "com.microsoft::TransposeMatMul", "ai.onnx.ml::ZipMap"}
    integers = {name.split(",")[0] for name in STATIC} - {"QAttention", "MaxPool"} | {"DynamicQuantizeLSTM"}
    elsewhere |= {
        name if name in ("QLinearConv", "QLinearMatMul") or "::" in name else f"com.microsoft::{name}"
        for name in integers
    }
    # ONNX Runtime lacks the steps of optimisers: test_node_cases.py.
    elsewhere |= {f"ai.onnx.preview.training::{name}" for name in ("Adagrad", "Adam", "Momentum")}
    assert set(DECOMPOSITIONS) - covered == elsewhere


def test_rows_are_distinct():
    repeated = [name for name, count in Counter(map(str, CASES)).items() if count > 1]
    assert repeated == []


def test_rows_that_leave_the_reference_evaluator_say_why():
    assert [str(row) for row in CASES if row.oracle != "reference" and not row.because] == []
