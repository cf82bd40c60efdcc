"""Compares onnxattr with Xplique and with the TensorFlow tape, method by method, and prints the table.

Run as ``python tests/verification/compare.py [--models cnn ...] [--methods VarGrad ...] [--fast]``.
"""

import argparse
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

if not __package__:  # started as a script
    sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[1:3]]

from onnxattr.converters.keras import to_onnx
from support.explained import in_chunks

import onnxattr.attributions
from onnxattr.compile.noise import draw_noise
from verification import cams
from verification.models import BUILDERS, LOGITS_INDEX, Case, build_case
from verification.report import Row, full_table, summary_table
from verification.tape import METHODS, NOISY, RELU_RULES, TapeReference
from verification.xplique_runner import xplique_explain

ALL_METHODS = (*METHODS, *cams.METHODS)
VARIANTS = {"whole": None, "cut": LOGITS_INDEX}
TOLERANCE = 1e-5
VARGRAD_TOLERANCE = (
    5e-5  # a variance in float32 is the small difference of large numbers, in any implementation
)


@dataclass(frozen=True)
class Settings:
    """How much work one comparison is."""

    steps: int = 8
    nb_samples: int = 8
    noise: float = 0.2
    seed: int = 7
    batch_sizes: tuple[int | None, ...] = (None, 1, 7, 32)

    def options(self, case: Case, method: str) -> dict:
        """The method's own constructor arguments, as onnxattr names them."""
        if method == "IntegratedGradients":
            return {"steps": self.steps, "baseline_value": case.baseline}
        if method in NOISY:
            return {"nb_samples": self.nb_samples, "noise": self.noise, "seed": self.seed}
        return {}


FAST = Settings()
DEFAULTS = Settings(steps=50, nb_samples=50, batch_sizes=(32,))
#: The models that are compared with the default numbers of steps and samples as well.
FULL_MODELS = ("cnn",)


class Kept:
    """Maps of references that several tests compare with, by what they are of."""

    def __init__(self, function):
        self._function = function
        self._maps: dict[tuple, tuple[Case, np.ndarray]] = {}

    def __call__(
        self, case: Case, method: str, variant: str, settings: Settings, draws, **options
    ) -> np.ndarray:
        drawn = None if draws is None else draws.tobytes()
        key = (id(case), method, variant, settings, drawn, *sorted(options.items()))
        if key not in self._maps:
            # The case is held, so that no other gets its id.
            self._maps[key] = case, self._function(case, method, variant, settings, draws, **options)
        return self._maps[key][1]


def map_errors(maps: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Largest error of each map relative to that reference map's maximum, (N,); a map of zeros has to be equal."""
    if maps.shape != reference.shape:
        raise ValueError(f"maps of shape {maps.shape} where the reference has {reference.shape}")
    rows = len(reference)
    error = np.abs(maps.astype(np.float64) - reference).reshape(rows, -1).max(axis=1)
    scale = np.abs(reference.astype(np.float64)).reshape(rows, -1).max(axis=1)
    return np.divide(error, scale, out=np.where(error > 0, np.inf, error), where=scale > 0)


def relative_error(maps: np.ndarray, reference: np.ndarray) -> float:
    """The largest of the `map_errors`."""
    return float(map_errors(maps, reference).max())


def tolerance_of(method: str) -> float:
    """How far a map of the method may be from its reference, relative to its maximum."""
    return VARGRAD_TOLERANCE if method == "VarGrad" else TOLERANCE


@cache
def converted(name: str):
    """The case's model as ONNX."""
    return to_onnx(build_case(name).model)


@cache
def tape(name: str, output_layer: int | None, dtype: str, relu_policy: str) -> TapeReference:
    """The tape of a case; kept, since its tracing takes longer than its runs."""
    return TapeReference(build_case(name).model, output_layer, dtype, relu_policy)


def draws_for(case: Case, method: str, settings: Settings) -> np.ndarray | None:
    """The standard normal numbers that onnxattr uses for these inputs, (nb_samples, N, ...)."""
    return draw_noise(settings.seed, case.inputs.shape, settings.nb_samples) if method in NOISY else None


def reference_options(case: Case, method: str, settings: Settings) -> dict:
    """`Settings.options` for the references: they get the noise itself, so neither a seed nor a count."""
    given = settings.options(case, method)
    return {key: value for key, value in given.items() if key not in ("seed", "nb_samples")}


@Kept
def tape_maps(
    case: Case, method: str, variant: str, settings: Settings, draws, relu_policy="all", exact=False
) -> np.ndarray:
    """The tape's maps without a reducer: in float64 for VarGrad and where they shall be exact, else in float32."""
    if method not in RELU_RULES:
        relu_policy = "all"  # says nothing then: one tape is traced for both
    dtype = "float64" if exact or method == "VarGrad" else "float32"
    reference = tape(case.name, VARIANTS[variant], dtype, relu_policy)
    options = reference_options(case, method, settings)
    return reference.explain(method, case.inputs, case.targets, draws=draws, **options)


@Kept
def xplique_maps(case: Case, method: str, variant: str, settings: Settings, draws, **options) -> np.ndarray:
    """Xplique's maps; no reducer unless one is given."""
    model = case.model if variant == "whole" else case.cut_model
    options = {"reducer": None, **reference_options(case, method, settings), **options}
    return xplique_explain(model, method, case.inputs, case.targets, draws=draws, **options)


def product_maps(case: Case, method: str, variant: str, settings: Settings, **options) -> np.ndarray:
    """onnxattr's maps of the converted model; no reducer unless one is given."""
    return explainer_of(case, method, variant, settings, **options).explain(case.inputs, case.targets)


def explainer_of(case: Case, method: str, variant: str, settings: Settings, **options):
    """onnxattr's method on the converted model."""
    options = {"reducer": None, "progress": False, **settings.options(case, method), **options}
    return getattr(onnxattr.attributions, method)(
        converted(case.name), output_layer=VARIANTS[variant], **options
    )


def compare(case: Case, method: str, variant: str, settings: Settings = FAST) -> list[Row]:
    """Rows of one model, method and variant: against Xplique and against the tape, over all batch sizes.

    Xplique overrides the ReLUs of the top level only; onnxattr is compared with it under the same policy,
    and with the tape under the policy "all".
    """
    draws, tolerance = draws_for(case, method, settings), tolerance_of(method)
    references = {
        "Xplique": ("xplique", xplique_maps),
        "tape64" if method == "VarGrad" else "tape": ("all", tape_maps),
    }
    maps: dict[str, list[np.ndarray]] = {}
    rows = []
    for name, (policy, reference) in references.items():
        relu_policy = {"relu_policy": policy} if method in RELU_RULES else {}
        key = relu_policy.get("relu_policy", "")
        if key not in maps:
            explainer = explainer_of(
                case, method, variant, settings, batch_size=settings.batch_sizes[0], **relu_policy
            )
            maps[key] = [
                in_chunks(explainer, batch_size).explain(case.inputs, case.targets)
                for batch_size in settings.batch_sizes
            ]
        expected = reference(case, method, variant, settings, draws)
        error = max(relative_error(each, expected) for each in maps[key])
        rows.append(Row(method, case.name, variant, name, error, tolerance))
    return rows


def compare_cam(case: Case, method: str, variant: str, settings: Settings = FAST) -> list[Row]:
    """Rows of one class activation map at its default layer: against the tape, and Xplique where it has it."""
    name, parameters = cams.METHODS[method]
    logits = variant != "whole"
    explainer = getattr(onnxattr.attributions, name)(
        converted(case.name),
        output_layer=VARIANTS[variant],
        batch_size=settings.batch_sizes[0],
        progress=False,
        **dict(parameters),
    )
    maps = [in_chunks(explainer, n).explain(case.inputs, case.targets) for n in settings.batch_sizes]
    exact = cams.tape_map(case, method, logits)
    references = {"tape64": (exact, TOLERANCE)}
    if method in cams.IN_XPLIQUE and case.name not in cams.NOT_IN_XPLIQUE:
        theirs = xplique_explain(case.cut_model if logits else case.model, name, case.inputs, case.targets)
        # Where a softmax is sure, Xplique's own float32 is off by as much as is allowed.
        references["Xplique"] = (theirs, TOLERANCE + relative_error(theirs, exact))
    return [
        Row(
            method,
            case.name,
            variant,
            reference,
            max(relative_error(each, expected) for each in maps),
            tolerance,
        )
        for reference, (expected, tolerance) in references.items()
    ]


def table_rows(models: Iterable[str], methods: Iterable[str], settings: Settings) -> Iterator[Row]:
    """All rows; a combination that raises is a failed row, so that the others are still shown."""
    for model in models:
        for variant in VARIANTS:
            for method in methods:
                if method in cams.METHODS and model not in cams.LAYERS:
                    continue  # no convolutions
                try:
                    row_of = compare_cam if method in cams.METHODS else compare
                    yield from row_of(build_case(model), method, variant, settings)
                except Exception as error:
                    note = f"{type(error).__name__}: {error}".splitlines()[0]
                    yield Row(method, model, variant, "-", float("nan"), TOLERANCE, note)


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; the exit status is 1 when a row is outside its tolerance."""
    parser = argparse.ArgumentParser(description="Compare onnxattr with Xplique and with TensorFlow's tape.")
    parser.add_argument("--models", nargs="+", choices=BUILDERS, default=list(BUILDERS))
    parser.add_argument("--methods", nargs="+", choices=ALL_METHODS, default=list(ALL_METHODS))
    parser.add_argument("--fast", action="store_true", help="leave out the run with 50 steps and 50 samples")
    parser.add_argument("--markdown", type=Path, help="also write the tables to this file")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", category=UserWarning)  # about softmax outputs, which are meant here

    sections = [("8 steps, 8 samples, batch sizes None, 1, 7 and 32", options.models, FAST)]
    if not options.fast:
        full = [name for name in options.models if name in FULL_MODELS]
        sections.append(("defaults: 50 steps, 50 samples, batch size 32", full, DEFAULTS))
    failed, pages = 0, ["# onnxattr compared with Xplique and TensorFlow"]
    for title, models, settings in sections:
        rows = list(table_rows(models, options.methods, settings))
        failed += sum(not row.ok for row in rows)
        print(f"\n{title}\n\n{full_table(rows)}\n\nlargest error\n\n{summary_table(rows)}", flush=True)
        pages += [f"## {title}", summary_table(rows, True), full_table(rows, True)]
    print(f"\n{failed} rows outside their tolerance" if failed else "\nevery row within its tolerance")
    if options.markdown:
        options.markdown.write_text("\n\n".join(pages) + "\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
