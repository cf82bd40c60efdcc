"""The driven rendering: a step graph run over chunks of rows from outside, and a finish graph run once."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxattr.compile.baseline_kinds import Computed
from onnxattr.compile.method import Method
from onnxattr.compile.noise import normal_like
from onnxattr.compile.placed_path import Rows
from onnxattr.compile.renderings.model_graph import INT64, own_names
from onnxattr.compile.renderings.rewrite import Request, Rewrite
from onnxattr.compile.renderings.tail import Tail, moments_of_whole
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import Range
from onnxattr.graph.values import dims_of

#: What is behind the name of a moment where there is one for each point.
POINTS = "_points"
#: Inputs and outputs of the two graphs; the prefix keeps them apart from any model's own.
ROW, PLACES, WEIGHTS, ENDS, ALPHA, SAMPLE, DRAW, PILOT, MOMENT, DIFFERENCE, SLOPES, SCORES = (
    f"onnxattr/{name}"
    for name in (
        "row",
        "places",
        "weights",
        "ends",
        "alpha",
        "sample",
        "draw",
        "pilot",
        "moment",
        "difference",
        "slopes",
        "scores",
    )
)


def step_rewrite(request: Request, masked: bool = False) -> Rewrite:
    """Moments of the gradients at R rows, summed into the B samples they belong to.

    Inputs: the model's (B samples), ``row`` (R,) int64 sample of each row, ``places`` (B, S) int64 rows of each sample
    and ``weights`` (B, S) what they count, ``target`` (B, ...) weights on the model's output; with a path ``alpha``
    (R,) and ``ends`` (B, S), with which scores add up to f(x) - f(b), and ``baseline``, B rows or one, where it is not
    the same for each sample; with noise, or a path of the method's own, ``sample`` (R,) and ``draw`` (R,) int64, the
    numbers of the sample and the point, and ``seed`` () where they draw; with a pilot ``pilot_<i>`` like each explained
    value. A sample of fewer than S rows repeats one of its own with weight 0: no row of another sample enters its
    sums, where 0 times NaN would be NaN. With ``masked`` a gradient of weight 0 has no part in them either.
    Outputs: for each explained value and each power one moment, shaped like the value; with a path ``difference``
    (B, 1).
    """
    rewrite, row, target_rows, gradients = _at_points(request)
    op, method = rewrite.op, rewrite.method
    places = op.input(PLACES, INT64, ["samples", "slots"])
    weights = op.input(WEIGHTS, method.dtype_of_moments(rewrite.wrt[0]), ["samples", "slots"])
    pilots = pilot_names(request)
    for index, (x, gradient) in enumerate(zip(rewrite.likes, gradients, strict=True)):
        shape = ["samples", *(dims_of(x) or [None])[1:]]
        if method.pilot:
            gradient = op.Sub(gradient, op.Gather(op.input(pilots[index], x.dtype, shape), row, axis=0))
        of_samples = _by_sample(op, rewrite.along_path(gradient, index), places)
        for power, powers in zip(method.powers, powers_of(op, of_samples, method), strict=True):
            if masked:
                powers = op.Where(op.Equal(op.Unsqueeze(weights, [2]), 0), 0, powers)
            moment = _weighted(op, powers, weights, x)
            _add_output(rewrite, moment, f"{MOMENT}_{power}_{index}", shape)
    if method.alphas is not None:
        ends = op.input(ENDS, rewrite.score.dtype, ["samples", "slots"])
        scores = rewrite.score_of_rows(target_rows)
        difference = _weighted(op, _by_sample(op, scores, places), ends, scores)
        _add_output(rewrite, difference, DIFFERENCE, ["samples", 1])
    return rewrite


def rows_rewrite(request: Request) -> Rewrite:
    """The gradients at R rows on a path, each by itself, and what tells how well a rule integrates them.

    Inputs: the model's (B samples), ``row``, ``target``, ``alpha`` and ``baseline`` as in ``step_rewrite``.
    Outputs: for each explained value its gradient, (R, ...); ``slopes`` (R, 1), the change of the score with alpha,
    which is the sum of what the gradient alone would attribute; ``scores`` (R, 1).
    """
    rewrite, row, target_rows, gradients = _at_points(request)
    op, slopes, scores = rewrite.op, [], rewrite.score_of_rows(target_rows)
    for position, (x, gradient) in enumerate(zip(rewrite.wrt, gradients, strict=True)):
        full = rewrite.attributed(x, position, [gradient], rewrite.baseline_of_rows(position, row))
        slopes.append(op.cast_like(op.ReduceSum(op.Flatten(full, axis=1), [1], keepdims=1), scores))
        _add_output(rewrite, gradient, f"{MOMENT}_1_{position}", ["rows", *(dims_of(x) or [None])[1:]])
    _add_output(rewrite, slopes[0] if len(slopes) == 1 else op.Sum(*slopes), SLOPES, ["rows", 1])
    _add_output(rewrite, scores, SCORES, ["rows", 1])
    return rewrite


def _at_points(request: Request) -> tuple[Rewrite, ir.Value, ir.Value, list[ir.Value]]:
    """The model at R points; the input ``row``, what to explain of each row, and the gradients there."""
    rewrite = request.in_steps.rewrite()
    op, method = rewrite.op, rewrite.method
    row = op.input(ROW, INT64, ["rows"])
    rewrite.gather_inputs(lambda value: op.Gather(value, row, axis=0))
    alpha = op.input(ALPHA, ir.DataType.FLOAT, ["rows"]) if method.alphas is not None else None
    number, draw = _counters(rewrite)

    def points(x: ir.Value, position: int) -> ir.Value:
        z = rewrite.on_path(x, position, Rows(alpha, row, number, draw)) if alpha is not None else x
        if number is not None and draw is not None and method.noise:
            rewrite.note_draws(rewrite.seed(), number, draw)
            noise = normal_like(op, x, rewrite.seed(), number, draw, position)
            z = op.Add(z, op.Mul(noise, rewrite.deviation(x)))
        return z

    placed = rewrite.place_points(points)
    target_rows = op.Gather(rewrite.target_input("samples"), row, axis=0)
    return rewrite, row, target_rows, rewrite.gradients(placed, target_rows)


def _counters(rewrite: Rewrite) -> tuple[ir.Value | None, ir.Value | None]:
    """The inputs that tell rows apart: the numbers of their samples among all, and of their points."""
    method = rewrite.method
    if not method.noise and method.path is None:
        return None, None
    return rewrite.op.input(SAMPLE, INT64, ["rows"]), rewrite.op.input(DRAW, INT64, ["rows"])


def sum_model(request: Request) -> ir.Model:
    """The moments of one sample, from its gradients at K points as the step gives them for a row by itself.

    Inputs: those, (K, ...), named as the step's outputs with ``_points`` behind, and ``weights`` (1, K). Outputs: the
    moments, (1, ...).
    """
    prepared = request.prepared
    graph = ir.Graph([], [], nodes=[], opset_imports={"": prepared.opset}, name="sum")
    op = OpBuilder(graph, prepared.opset, prefix="onnxattr")
    values = [prepared.value(name) for name in prepared.wrt]
    weights = op.input(WEIGHTS, request.method.dtype_of_moments(values[0]), [1, "points"])
    for index, value in enumerate(values):
        dims = (dims_of(value) or [None])[1:]
        for power in request.method.powers:
            name = f"{MOMENT}_{power}_{index}"
            dtype = request.method.dtype_of_moments(value)
            given = op.input(f"{name}{POINTS}", dtype, ["points", *dims])
            flat = op.Reshape(given, op.Concat(op.shape(given, 0, 1), [-1], axis=0))
            total = op.MatMul(op.cast_like(weights, flat), flat)
            total = op.reshape_rows(total, op.Concat([1], op.shape(given, 1), axis=0), given)
            total.name, total.shape = op.unique_name(name, exact=True), ir.Shape([1, *dims])
            total.type = given.type
            graph.outputs.append(total)
    return ir.Model(graph, ir_version=8)


def path_score_model(request: Request) -> ir.Model:
    """The scores at R points of a path, without gradients.

    Inputs: the model's (B samples), ``row`` (R,) int64 sample of each row, ``alpha`` (R,), ``target`` (B, ...) weights
    on the model's output; ``baseline``, ``seed``, ``sample`` and ``draw`` as in ``step_rewrite``. Output: ``scores``
    (R, 1).
    """
    rewrite = Rewrite(request.in_steps)
    op = rewrite.op
    row = op.input(ROW, INT64, ["rows"])
    rewrite.gather_inputs(lambda value: op.Gather(value, row, axis=0))
    alpha = op.input(ALPHA, ir.DataType.FLOAT, ["rows"])
    rows = Rows(alpha, row, *_counters(rewrite))
    rewrite.place_points(lambda x, position: rewrite.on_path(x, position, rows))
    target_rows = op.Gather(rewrite.target_input("samples"), row, axis=0)
    scores = rewrite.score_of_rows(target_rows)
    _add_output(rewrite, scores, SCORES, ["rows", 1])
    return rewrite.finished_model()


def finish_model(request: Request, tail: Tail | None = None, ranges: Sequence[Range] = ()) -> ir.Model:
    """Attributions, and with a path their distance from f(x) - f(b), from the model's inputs and the moments.

    With a ``tail`` the moments are those of the gradients by the values of the cut, which hold what ``ranges`` say.
    """
    rewrite = request.in_steps.rewrite()
    op, likes = rewrite.op, rewrite.likes
    summed = likes if tail is None else [rewrite.value(name) for name in tail.summed]
    moments = [
        [
            op.input(f"{MOMENT}_{p}_{index}", rewrite.method.dtype_of_moments(x), dims_of(x) or [])
            for p in rewrite.method.powers
        ]
        for index, x in enumerate(summed)
    ]
    if tail is not None:
        moments = moments_of_whole(rewrite, tail, moments, ranges)
    difference = None
    if rewrite.method.alphas is not None:
        rows = (dims_of(rewrite.wrt[0]) or [None])[0]
        difference = op.input(DIFFERENCE, rewrite.score.dtype, [rows, 1])
    rewrite.attributions(likes, moments, difference)
    return rewrite.finished_model()


def baselines_model(request: Request) -> ir.Model:
    """The baselines that are computed from the samples, from the model's inputs, ``sample`` (N,) and ``seed`` ()."""
    rewrite = Rewrite(request)
    sample = rewrite.op.input(SAMPLE, INT64, ["samples"])
    for position, name in enumerate(own_names(request.prepared, "baseline")):
        if isinstance(request.method.baseline[position], Computed):
            x = rewrite.wrt[position]
            computed = rewrite.baseline(position, x, sample)
            assert computed is not None
            _add_output(rewrite, rewrite.op.Identity(computed), name, dims_of(x) or [None])
    return rewrite.finished_model()


def pilot_names(request: Request) -> list[str]:
    """The step's inputs for the gradient at x, one for each map."""
    return [f"{PILOT}_{index}" for index in range(len(request.shown.wrt))]


def powers_of(op: OpBuilder, gradient: ir.Value, method: Method) -> list[ir.Value]:
    """The powers of a gradient that a method needs."""
    gradient = op.cast(gradient, method.dtype_of_moments(gradient))
    return [gradient if power == 1 else op.Mul(gradient, gradient) for power in method.powers]


def _by_sample(op: OpBuilder, value: ir.Value, places: ir.Value) -> ir.Value:
    """R rows as (samples, slots, elements)."""
    flat = op.Reshape(value, op.Concat(op.shape(value, 0, 1), [-1], axis=0))
    return op.Gather(flat, places, axis=0)


def _weighted(op: OpBuilder, of_samples: ir.Value, weights: ir.Value, like: ir.Value) -> ir.Value:
    """Sums the rows of each sample by their weights; the axes after the first are those of ``like``."""
    total = op.MatMul(op.Unsqueeze(op.cast_like(weights, of_samples), [1]), of_samples)
    sizes = op.Concat(op.Shape(weights, start=0, end=1), op.shape(like, 1), axis=0)
    return op.reshape_rows(total, sizes, like)


def _add_output(rewrite: Rewrite, value: ir.Value, name: str, shape: list[int | str | None]) -> None:
    value.name = rewrite.op.unique_name(name, exact=True)
    value.shape = ir.Shape(shape)
    rewrite.graph.outputs.append(value)
