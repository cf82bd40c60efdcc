"""Zero contributes zero: a cotangent of 0 gives exactly 0 through every rule, whatever its local derivative is."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from support.gradient_graphs import assert_close, cotangents_of, run
from support.rule_cases import VARIANTS, Case
from support.rule_cases.singular import CASES

from onnxattr.autodiff.registry import SINGULAR
from onnxattr.compile.gradient import vjp

REGULAR = 2


def behind_quotients(row: Case, variant: str) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The row's model and operands, those that are not finite made inside the model: by 1 / 0, -1 / 0 and 0 / 0."""
    model, feeds = row.model(variant), row.feeds()
    for name in row.wrt():
        array = feeds[name]
        finite = np.isfinite(array)
        if not finite.all():
            feeds[name] = np.where(finite, array, np.nan_to_num(array, nan=0, posinf=1, neginf=-1)).astype(
                np.float32
            )
            model.graph.initializer.append(
                numpy_helper.from_array(finite.astype(np.float32), f"{name}_divisor")
            )
            for node in model.graph.node:
                node.input[:] = [f"{name}_quotient" if source == name else source for source in node.input]
            quotient = helper.make_node("Div", [name, f"{name}_divisor"], [f"{name}_quotient"])
            model.graph.node.insert(0, quotient)
    return model, feeds


def without_singular_samples(row: Case, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The operands with copies of the first sample in place of the singular ones."""
    result = dict(feeds)
    for index, operand in enumerate(row.operands):
        if operand is not None and operand.runtime and operand.resizable:
            array = row.feeds()[f"v{index}"]
            result[f"v{index}"] = np.concatenate([array[:REGULAR], *[array[:1]] * (len(array) - REGULAR)])
    return result


def gradients(model: onnx.ModelProto, feeds: dict, cotangents: dict) -> dict[str, np.ndarray]:
    results = run(model, feeds | cotangents)
    return {name: array for name, array in results.items() if name.endswith("_gradient")}


@pytest.mark.parametrize("row", CASES, ids=str)
def test_zero_cotangents_at_singular_points(row: Case):
    """Samples that get no cotangent get the gradient 0, and change nothing for the others and for what all share."""
    primal = row.primal()
    for variant in VARIANTS:
        singular, feeds = behind_quotients(row, variant)
        model, plain = vjp(singular, row.wrt()), row.gradient(variant)
        cotangents = cotangents_of(model, primal)
        none = {name: np.zeros_like(ct) for name, ct in cotangents.items()}
        for name, found in gradients(model, feeds, none).items():
            np.testing.assert_array_equal(found, 0, err_msg=f"{name}, {variant}")
        for ct in cotangents.values():
            ct[REGULAR:] = 0
        found = gradients(model, feeds, cotangents)
        for name, expected in gradients(plain, without_singular_samples(row, feeds), cotangents).items():
            assert np.isfinite(expected).all()
            assert_close(found[name], expected, f"{name}, {variant}")


def test_every_singular_operator_has_a_row():
    assert set(SINGULAR) - {row.op for row in CASES} == set()
