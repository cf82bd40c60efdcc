"""Differentiates a node case and compares the gradient with central differences.

For random cotangents and random directions v, <xbar, v> is compared with the slope of <ybar, f(x + t v)>. Both
graphs are taken to float64 and run by onnx's reference evaluator, once its forward pass has given the outputs that
onnx stores. Where data lie exactly at a kink or a tie, every float input is moved a little, by seeded noise, to
generic position; infinities and NaNs among them are replaced where the derivative does not exist there.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Container, Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from node_cases.cases import NodeCase, float_names
from node_cases.evaluators import reference, runtime
from node_cases.oracles import DOUBLE, Arrays, Precision, kinds_of, oracle_of
from node_cases.packages import Differentiate, Gradient, Run, onnxattr
from node_cases.reasons import ZERO, fixed_inputs, reason_of

PASSED, WITHOUT, OPEN = "passed", "non-differentiable", "open"
NOISE = 0.03
DIRECTIONS = 2


@dataclass(frozen=True)
class Verdict:
    """What became of a case.

    Attributes:
        status: PASSED, WITHOUT a derivative, or OPEN.
        detail: The reason, or the error.
        oracle: What ran the forward pass of the differences, and in which precision.
        moved: Whether the inputs were moved to generic position.
        fixed: Inputs that were held fixed, with the reason.
        onnxruntime: "agrees" if ONNX Runtime gives the same gradient in the case's own precision, else why not.
    """

    status: str
    detail: str = ""
    oracle: str = ""
    moved: bool = False
    fixed: dict[str, str] = dataclasses.field(default_factory=dict)
    onnxruntime: str = ""


class MismatchError(Exception):
    """A gradient that differs from its central differences."""


def judge(case: NodeCase, one_node: NodeCase, differentiate: Differentiate = onnxattr) -> Verdict:
    """Passed, non-differentiable or open; where the reason says that a derivative is 0, the numbers must agree.

    Args:
        case: The case.
        one_node: The case that it is an expansion of; itself if it is none.
        differentiate: The package that makes the gradient.
    """
    fixed = fixed_inputs(case, one_node)
    sources = [name for name in float_names(case.model.graph.input) if name not in fixed]
    reason = reason_of(case, sources)
    if reason is not None and reason not in ZERO:
        return Verdict(WITHOUT, reason)
    scores = float_names(case.model.graph.output)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            verdict = _check(case, sources, scores, differentiate, fixed, zero=reason is not None)
        except Exception as error:  # whatever goes wrong is what the report is about
            return Verdict(OPEN, f"{type(error).__name__}: {' '.join(str(error).split())}", fixed=fixed)
    status, detail = (PASSED, "") if reason is None else (WITHOUT, reason)
    return dataclasses.replace(verdict, status=status, detail=detail, fixed=fixed)


def _check(
    case: NodeCase,
    sources: list[str],
    scores: list[str],
    differentiate: Differentiate,
    fixed: Container[str],
    zero: bool,
) -> Verdict:
    """Compares the gradient with differences at the stored inputs, else in generic position; raises if they differ."""
    oracle = oracle_of(case, fixed)
    forward, precision = oracle.forward, oracle.precision
    gradient = _gradient(differentiate, oracle.model, sources, scores, precision)
    failure: Exception | None = None
    for moved, feeds in _points(oracle.feeds, sources):
        try:
            primal = forward(scores, feeds)
            cotangents = _cotangents(oracle.model, dict(zip(scores, primal, strict=True)))
            xbars = gradient(feeds, cotangents)
            _compare(forward, feeds, dict(zip(sources, xbars, strict=True)), cotangents, precision)
        except Exception as error:
            failure = failure or error
            continue
        if not zero and not any(xbar.any() for xbar in xbars):
            raise MismatchError("the derivative is 0 everywhere, and no reason is known for it")
        outputs = dict(zip(scores, primal, strict=True))
        same = _in_onnxruntime(case, differentiate, sources, feeds, outputs, cotangents, xbars)
        return Verdict(PASSED, oracle=oracle.name, moved=moved, onnxruntime=same)
    assert failure is not None
    raise failure


def _gradient(
    differentiate: Differentiate,
    model: onnx.ModelProto,
    sources: list[str],
    scores: list[str],
    precision: Precision,
) -> Gradient:
    """The gradient by the reference evaluator in float64, by ONNX Runtime in float32; by the other where one fails."""
    starts = [reference, runtime] if precision is DOUBLE else [runtime, reference]

    def gradient(feeds: Arrays, cotangents: Arrays) -> list[np.ndarray]:
        failure: Exception | None = None
        for start in starts:
            try:
                return differentiate(model, sources, scores, start)(feeds, cotangents)
            except Exception as error:
                failure = failure or error
        assert failure is not None
        raise failure

    return gradient


def _points(feeds: Arrays, sources: list[str]) -> Iterator[tuple[bool, Arrays]]:
    """The stored inputs, then inputs in generic position, at last with infinities and NaNs replaced as well."""
    yield False, feeds
    for seed in range(6):
        scale, replace = NOISE / 100 if seed == 2 else NOISE, seed > 2
        rng = np.random.default_rng(seed)
        moved = {k: feeds[k] + scale * rng.normal(size=feeds[k].shape) for k in sources}
        if replace:
            moved = {k: np.where(np.isfinite(x), x, rng.normal(size=x.shape)) for k, x in moved.items()}
        yield True, feeds | {k: x.astype(feeds[k].dtype) for k, x in moved.items()}


def _cotangents(model: onnx.ModelProto, primal: Arrays) -> Arrays:
    """Random cotangents of the types that the model declares, 0 where the output is not finite."""
    rng = np.random.default_rng(1)
    kinds = dict(zip((value.name for value in model.graph.output), kinds_of(model), strict=True))
    return {
        name: np.where(np.isfinite(y), rng.normal(size=y.shape), 0.0).astype(kinds[name])
        for name, y in primal.items()
    }


def _compare(forward: Run, feeds: Arrays, xbars: Arrays, cotangents: Arrays, precision: Precision) -> None:
    """Raises MismatchError if a gradient differs from the central differences along a random direction."""
    rng = np.random.default_rng(2)
    scores = list(cotangents)
    for name, xbar in xbars.items():
        x = feeds[name]
        if xbar.shape != x.shape:
            raise MismatchError(f"the gradient of {name!r} has shape {xbar.shape}, not {x.shape}")
        for _ in range(DIRECTIONS if x.size else 0):
            v = np.where(np.isfinite(x), rng.normal(size=x.shape), 0.0)
            up, down = (
                forward(scores, feeds | {name: (x + sign * precision.step * v).astype(x.dtype)})
                for sign in (1, -1)
            )
            slope = _slope(up, down, list(cotangents.values()), precision.step)
            along = float(np.where(v != 0, xbar.astype(np.float64) * v, 0.0).sum())
            scale = max(abs(slope), float(np.abs(xbar * v).sum()) if np.isfinite(xbar).all() else 0.0, 1e-3)
            rounding = sum(
                _total(np.abs(u) * np.abs(ct)) for u, ct in zip(up, cotangents.values(), strict=True)
            )
            slack = np.finfo(x.dtype).eps * rounding / precision.step
            if not abs(along - slope) <= precision.tolerance * scale + slack:
                raise MismatchError(
                    f"gradient of {name!r} along a random direction: {along:.8g}, differences: {slope:.8g}"
                )


def _slope(up: list[np.ndarray], down: list[np.ndarray], cotangents: list[np.ndarray], step: float) -> float:
    total = 0.0
    for u, d, ct in zip(up, down, cotangents, strict=True):
        if u.shape != ct.shape or d.shape != ct.shape:
            raise MismatchError("the shape of the output jumps")
        difference = u.astype(np.float64) - d.astype(np.float64)
        total += _total(difference * ct)
    return total / (2 * step)


def _total(products: np.ndarray) -> float:
    """The sum of the products with cotangents; those of infinite outputs are 0 and count as such."""
    return float(np.nansum(products, dtype=np.float64))


def _in_onnxruntime(
    case: NodeCase,
    differentiate: Differentiate,
    sources: list[str],
    feeds: Arrays,
    primal: Arrays,
    cotangents: Arrays,
    xbars: list[np.ndarray],
) -> str:
    """Whether ONNX Runtime gives the same gradient in the case's own precision."""
    try:
        own = {k: v.astype(case.inputs[k].dtype) for k, v in feeds.items()}
        gradient = differentiate(case.model, sources, list(primal), runtime)
        found = gradient(own, {k: v.astype(case.expected[k].dtype) for k, v in cotangents.items()})
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    for name, array, xbar in zip(sources, found, xbars, strict=True):
        if not _close(array, xbar, case.inputs[name].dtype):
            outputs = zip(runtime(case.model)(list(primal), own), primal.items(), strict=True)
            same = all(_close(y, wanted, case.expected[key].dtype) for y, (key, wanted) in outputs)
            return f"differs: gradient of {name!r}" if same else "differs, as does the forward pass"
    return "agrees"


def _close(found: np.ndarray, wanted: np.ndarray, dtype: np.dtype) -> bool:
    """Whether two arrays agree as closely as a precision allows."""
    loose = 2e-3 if dtype.itemsize > 2 else 5e-2
    finite = wanted[np.isfinite(wanted)].astype(np.float64)
    atol = loose * np.abs(finite).max(initial=0.0) + 1e-6
    return np.allclose(
        found.astype(np.float64), wanted.astype(np.float64), rtol=loose, atol=atol, equal_nan=True
    )
