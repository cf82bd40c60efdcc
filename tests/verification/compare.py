"""Compares onnxattr with Xplique and with the TensorFlow tape, method by method, and prints the table.

python tests/verification/compare.py [--models cnn nested] [--methods VarGrad] [--fast] [--markdown FILE]
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

if not __package__:  # started as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from verification.models import BUILDERS, LOGITS_INDEX, Case, build_case
from verification.tape import METHODS, NOISY, RELU_RULES, TapeReference
from verification.xplique_runner import xplique_explain

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

    def options(self, method: str) -> dict:
        """The method's own constructor arguments, as onnxattr names them."""
        if method == "IntegratedGradients":
            return {"steps": self.steps, "baseline_value": 0.1}
        if method in NOISY:
            return {"nb_samples": self.nb_samples, "noise": self.noise, "seed": self.seed}
        return {}


FAST = Settings()
DEFAULTS = Settings(steps=50, nb_samples=50, batch_sizes=(32,))


@dataclass(frozen=True)
class Row:
    """One line of the table: largest error over samples and batch sizes, relative to each map's maximum."""

    method: str
    model: str
    variant: str
    reference: str
    error: float
    tolerance: float
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance  # False for NaN


def relative_error(maps: np.ndarray, reference: np.ndarray) -> float:
    """Largest error of any map relative to that reference map's maximum; a map of zeros has to be equal."""
    if maps.shape != reference.shape:
        raise ValueError(f"maps of shape {maps.shape} where the reference has {reference.shape}")
    rows = len(reference)
    error = np.abs(maps.astype(np.float64) - reference).reshape(rows, -1).max(axis=1)
    scale = np.abs(reference.astype(np.float64)).reshape(rows, -1).max(axis=1)
    return float(np.divide(error, scale, out=np.where(error > 0, np.inf, error), where=scale > 0).max())


@cache
def converted(name: str):
    """The case's model as ONNX."""
    from onnxattr.converters.keras import to_onnx

    return to_onnx(build_case(name).model)


@cache
def tape(name: str, output_layer: int | None, dtype: str, relu_policy: str) -> TapeReference:
    """The tape of a case; kept, since its tracing takes longer than its runs."""
    return TapeReference(build_case(name).model, output_layer, dtype, relu_policy)


def draws_for(case: Case, method: str, settings: Settings) -> np.ndarray | None:
    """The standard normal numbers that onnxattr uses for these inputs, (nb_samples, N, ...)."""
    from onnxattr.noise import draw_noise

    return draw_noise(settings.seed, case.inputs.shape, settings.nb_samples) if method in NOISY else None


def reference_options(method: str, settings: Settings) -> dict:
    """`Settings.options` for the references: they get the noise itself, so neither a seed nor a count."""
    return {
        key: value for key, value in settings.options(method).items() if key not in ("seed", "nb_samples")
    }


def tape_maps(
    case: Case, method: str, variant: str, settings: Settings, draws, relu_policy="all"
) -> np.ndarray:
    """The tape's maps without a reducer: in float64 for VarGrad, in float32 otherwise."""
    dtype = "float64" if method == "VarGrad" else "float32"
    reference = tape(case.name, VARIANTS[variant], dtype, relu_policy)
    return reference.explain(
        method, case.inputs, case.targets, draws=draws, **reference_options(method, settings)
    )


def xplique_maps(case: Case, method: str, variant: str, settings: Settings, draws, **options) -> np.ndarray:
    """Xplique's maps; no reducer unless one is given."""
    model = case.model if variant == "whole" else case.cut_model
    options = {"reducer": None, **reference_options(method, settings), **options}
    return xplique_explain(model, method, case.inputs, case.targets, draws=draws, **options)


def product_maps(case: Case, method: str, variant: str, settings: Settings, **options) -> np.ndarray:
    """onnxattr's maps of the converted model; no reducer unless one is given."""
    import onnxattr.attributions

    options = {"reducer": None, "progress": False, **settings.options(method), **options}
    explainer = getattr(onnxattr.attributions, method)(
        converted(case.name), output_layer=VARIANTS[variant], **options
    )
    return explainer.explain(case.inputs, case.targets)


def compare(case: Case, method: str, variant: str, settings: Settings = FAST) -> list[Row]:
    """Rows of one model, method and variant: against Xplique and against the tape, over all batch sizes.

    Xplique overrides the ReLUs of the top level only; onnxattr is compared with it under the same policy,
    and with the tape under the policy "all".
    """
    tolerance = VARGRAD_TOLERANCE if method == "VarGrad" else TOLERANCE
    draws = draws_for(case, method, settings)
    references = {
        "Xplique": ("xplique", xplique_maps(case, method, variant, settings, draws)),
        "tape64" if method == "VarGrad" else "tape": (
            "all",
            tape_maps(case, method, variant, settings, draws),
        ),
    }
    maps = {}
    rows = []
    for name, (policy, reference) in references.items():
        relu_policy = {"relu_policy": policy} if method in RELU_RULES else {}
        error = 0.0
        for batch_size in settings.batch_sizes:
            key = (batch_size, *relu_policy.values())
            if key not in maps:
                maps[key] = product_maps(
                    case, method, variant, settings, batch_size=batch_size, **relu_policy
                )
            error = np.maximum(error, relative_error(maps[key], reference))  # keeps NaN
        rows.append(Row(method, case.name, variant, name, float(error), tolerance))
    return rows


def table_rows(models: Iterable[str], methods: Iterable[str], settings: Settings) -> Iterator[Row]:
    """All rows; a combination that raises is a failed row, so that the others are still shown."""
    for model in models:
        for variant in VARIANTS:
            for method in methods:
                try:
                    yield from compare(build_case(model), method, variant, settings)
                except Exception as error:
                    note = f"{type(error).__name__}: {error}".splitlines()[0]
                    yield Row(method, model, variant, "-", float("nan"), TOLERANCE, note)


def render(header: list[str], body: list[list[str]], markdown: bool) -> str:
    """A table as aligned text or as markdown."""
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    left, between, right = ("| ", " | ", " |") if markdown else ("", "  ", "")
    lines = [
        left + between.join(map(str.ljust, line, widths)) + right
        for line in [header, ["-" * width for width in widths], *body]
    ]
    return "\n".join(line.rstrip() for line in lines)


def full_table(rows: list[Row], markdown: bool = False) -> str:
    """One line per row."""
    header = ["method", "model", "variant", "reference", "error", "tolerance", "ok", "note"]
    body = [
        [
            row.method,
            row.model,
            row.variant,
            row.reference,
            f"{row.error:.1e}",
            f"{row.tolerance:.0e}",
            "yes" if row.ok else "NO",
            row.note,
        ]
        for row in rows
    ]
    return render(header, body, markdown)


def summary_table(rows: list[Row], markdown: bool = False) -> str:
    """Largest error by method and model, over variants, references and batch sizes."""
    models = list(dict.fromkeys(row.model for row in rows))
    body = []
    for method in dict.fromkeys(row.method for row in rows):
        cells = [[row for row in rows if (row.method, row.model) == (method, model)] for model in models]
        body.append([method, *(worst_cell(cell) for cell in cells)])
    return render(["method", *models], body, markdown)


def worst_cell(rows: list[Row]) -> str:
    """The largest error of some rows, marked when any of them failed."""
    if not rows:
        return ""
    worst = max(np.nan_to_num(row.error, nan=np.inf) for row in rows)
    return f"{worst:.1e}" + ("" if all(row.ok for row in rows) else " FAILED")


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; the exit status is 1 when a row is outside its tolerance."""
    parser = argparse.ArgumentParser(description="Compare onnxattr with Xplique and with TensorFlow's tape.")
    parser.add_argument("--models", nargs="+", choices=BUILDERS, default=list(BUILDERS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--fast", action="store_true", help="leave out the run with 50 steps and 50 samples")
    parser.add_argument("--markdown", type=Path, help="also write the tables to this file")
    options = parser.parse_args(arguments)

    sections = [("8 steps, 8 samples, batch sizes None, 1, 7 and 32", options.models, FAST)]
    if not options.fast:
        sections.append(("defaults: 50 steps, 50 samples, batch size 32", options.models[3:4], DEFAULTS))
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
