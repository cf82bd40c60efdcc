"""What a model holds for someone who wants to explain it, as text: what goes in, what comes out, what to type."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from onnxattr.autodiff.registry import NON_DIFFERENTIABLE
from onnxattr.autodiff.standard import STANDARD
from onnxattr.decompositions.standard import DECOMPOSITIONS
from onnxattr.errors import one_door
from onnxattr.graph.values import shape_text
from onnxattr.inspection.data_file import data_lines
from onnxattr.inspection.inputs import told
from onnxattr.inspection.model_facts import facts, facts_of
from onnxattr.inspection.places import place_lines
from onnxattr.inspection.runtimes import runtime_facts, runtime_lines
from onnxattr.loading.heads import threshold
from onnxattr.loading.layers import read_layers
from onnxattr.loading.load import load
from onnxattr.loading.reading.source import ModelSource, name_of
from onnxattr.loading.rows.independence import MIXED, PROVEN, SINGLE, UNDECIDED
from onnxattr.loading.verify import check_choice, verify_model


def inspect(
    source: ModelSource,
    verify: bool | str = False,
    full: bool = False,
    *,
    verbose: bool = False,
    measured: bool = False,
    runtime: str | None = None,
) -> str:
    """Describes a model: inputs and outputs, what can be explained, what it costs, and a command that does it.

    Of an exported explainer it tells the method, its parameters and the model it is of.

    Args:
        source: A path, bytes, ``onnx.ModelProto``, ``onnx_ir.Model`` or Keras model.
        verify: Whether the prediction of the model, brought to the form that is explained, is compared with its own
            in ONNX Runtime: "auto" for small models that were changed, True for all, False for none.
        full: Whether a long table of layers or values is listed to its end.
        verbose: Whether the operators are listed, each with its gradient rule.
        measured: Whether the cost is measured on a drawn sample, not estimated.
        runtime: "openvino", "webgpu", "opencv", "cuda", "coreml", "directml" or "tensorrt": also tell which nodes of
            the file leave the accelerator there, are refused or are known to be wrong, from tables with versions and
            sources.

    Raises:
        ModelError: If the model cannot be read, or the predictions differ.
        ParameterError: If ``verify`` or ``runtime`` is none of these.
    """
    check_choice(verify)
    there = [] if runtime is None else runtime_lines(source, runtime)
    model = load(source)
    with one_door(f"{name_of(source)} cannot be described"):
        verify_model(model, verify)
        return "\n".join([_described(model, facts_of(model, source, measured), full, verbose), *there])


def inspect_json(
    source: ModelSource,
    verify: bool | str = False,
    *,
    measured: bool = False,
    runtime: str | None = None,
) -> str:
    """The same facts as one JSON object; docs/inspect.md lists its keys. The errors are those of ``inspect``."""
    there = {} if runtime is None else {"runtime": runtime_facts(source, runtime)}
    known = facts(source, verify, measured=measured) | there
    return json.dumps(known, indent=2, ensure_ascii=False, default=str)


def _described(model: ir.Model, known: dict[str, Any], full: bool, verbose: bool) -> str:
    lines = [f"ai.onnx opset {known['opset']}, {known['nodes']} nodes", "", "Inputs"]
    for one in known["inputs"]:
        said = told(one)
        lines.append(f"  {_value(one)}" + (f"   {said}" if said else ""))
    lines += ["", "Outputs", *(line for output in known["outputs"] for line in _output(output))]
    explainer = known["explainer"]
    lines += _preprocessing(known["preprocessing"])
    if explainer is None:
        lines += _integer_lines(known["made_of_integers"])
    lines += _feature_lines(known["inputs"]) + _class_lines(known["classes"], known["outputs"])
    lines += data_lines(known["data_file"])
    if known["may_saturate"]:
        lines += ["", "Products of 8-bit weights", f"  {known['may_saturate']}"]
    if known["changed"]:
        lines += ["", "Changed since the export", f"  {known['changed']}"]
    if explainer is not None:
        return "\n".join([*lines, "", "Explainer", *_nested(explainer), *_command(known)])
    lines += ["", "Samples", f"  {_samples(known)}"]
    if known["draws"]:
        lines.append(f"  the model draws random numbers, others in each run: {', '.join(known['draws'])}")
    lines += [
        f"  changes in steps, without a gradient: {kind}; {said}" for kind, said in known["in_steps"].items()
    ]
    lines += _landmarks(known) + ([] if known["without_rule"] else _cost(known["cost"]))
    lines += place_lines(model.graph, read_layers(model.metadata_props), full)
    if verbose:
        lines += _operator_lines(known["operators"])
    elif known["without_rule"]:
        lines += [
            "",
            "NO RULE for these operators on the way from input to output (--verbose lists all operators)",
        ]
        lines += [f"  {name}" for name in known["without_rule"]]
    return "\n".join([*lines, *_command(known)])


def _value(one: Mapping[str, Any]) -> str:
    return f"{one['name']}: {one['type']} {shape_text(one['shape'])}"


def _output(output: Mapping[str, Any]) -> list[str]:
    text = f"  {_value(output)}"
    if "logits" in output:
        text += f"   probabilities; logits: {output['logits']}"
    elif "kind" in output and "unit" not in output:
        text += f"   {output['kind']}"
    text += f"{',' if text.count('   ') else '  '} in {output['of']}" if "of" in output else ""
    lines = [text]
    if unit := output.get("unit"):
        lines.append(
            f"    one unit, the {unit} of class 1: label 1 explains it, label 0 its negative; predicted: 1 above "
            f"{threshold(unit):g}"
        )
    return lines


def _preprocessing(spec: Mapping[str, Any] | None) -> list[str]:
    if spec is None:
        return []
    size, crop = spec["size"], spec["crop"]
    steps = [] if spec["resize"] == "none" or size is None else [f"{spec['resize']} to {size[0]} x {size[1]}"]
    steps += [f"the middle {crop[0]} x {crop[1]}"] if crop else []
    steps += [f"{spec['order']}, (x * {spec['scale']:.6g} - {_few(spec['mean'])}) / {_few(spec['std'])}"]
    place = (
        "in the file"
        if spec["in_graph"]
        else "expected, not in the file: --preprocess model puts it in front"
    )
    return ["", f"Preprocessing of photos ({place})", f"  {', '.join(steps)}"]


def _few(numbers: Sequence[float]) -> str:
    return f"{numbers[0]:.6g}" if len(numbers) == 1 else f"[{', '.join(f'{x:.6g}' for x in numbers)}]"


def _class_lines(classes: Sequence[str], outputs: Sequence[Mapping[str, Any]]) -> list[str]:
    if not classes:
        return []
    by_name = any(len(one["shape"] or []) < 3 for one in outputs)
    some = ", ".join(classes[:6]) + (", ..." if len(classes) > 6 else "")
    return [
        "",
        f"Classes ({len(classes)}{', which --targets takes by name' if by_name else ''})",
        f"  {some}",
    ]


def _samples(known: Mapping[str, Any]) -> str:
    kind, why = known["samples"]["kind"], known["samples"]["why"]
    text = f"{_KINDS[kind]}: {why}" if why else _KINDS[kind]
    if isinstance(known["batch"], int):
        return f"a fixed batch of {known['batch']}, which cannot be explained: export the model with a free one. {text}"
    return f"any number in a call; {text}" if known["batch"] == "free" else text


def _landmarks(known: Mapping[str, Any]) -> list[str]:
    lines = []
    for table in known["embeddings"]:
        shape = shape_text(table["shape"])
        of = f"of {table['ids']}" if table["ids"] else "of integers that the model computes"
        words = "the words: " if table["words"] else ""
        lines.append(
            f"  {words}--wrt {shlex.quote(table['name'])}  {shape}, an embedding {of}, {table['rows']} rows"
        )
    if (last := known["last_convolution"]) is not None:
        shape = shape_text(last["shape"])
        lines.append(f"  last convolution: {last['name']} {shape}, which GradCAM and LayerCAM show")
    return ["", "What to explain beside the inputs", *lines] if lines else []


def _cost(cost: Mapping[str, Any] | None) -> list[str]:
    if cost is None or cost["how"] == "unknown":
        why = "nothing is differentiated" if cost is None else f"{cost['why']}; --measure runs a drawn sample"
        return ["", "Cost", f"  unknown: {why}"]
    ratio, gradients = cost["gradient_in_predictions"], cost["default_gradients"]
    lines = ["", f"Cost ({cost['how']}{'' if cost['how'] == 'measured' else '; --measure runs it'})"]
    lines.append(
        f"  a gradient takes {ratio:g} predictions, IntegratedGradients with 50 steps about {ratio * gradients:.0f}"
    )
    if "gradient_seconds" in cost:
        times = [f"{1e3 * cost[name]:.3g} ms" for name in ("prediction_seconds", "gradient_seconds")]
        lines.append(f"  {times[0]} for a prediction, {times[1]} for a gradient of one sample")
    if cost.get("memory_bytes"):
        kept, weights = (_megabytes(cost[name]) for name in ("memory_bytes", "weights_bytes"))
        lines.append(f"  memory, estimated: {kept} for each sample of a chunk, beside {weights} of weights")
    if cost["sizes"]:
        lines.append(f"  with {', '.join(f'{name} = {size}' for name, size in cost['sizes'].items())}")
    return lines


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.3g} MB" if count >= 1e5 else f"{count / 1e3:.3g} kB"


def _command(known: Mapping[str, Any]) -> list[str]:
    if known["without_rule"]:
        return []
    return [
        "",
        "Try",
        f"  {known['command']}",
        f"    {shlex.split(known['command'])[3]}: {known['command_reads']}",
    ]


def supported_operators() -> str:
    """The operators with a VJP rule and its formula, those written out in others, those without gradient by nature."""
    lines = _formulas(STANDARD)
    lines += ["", "Written out in operators of ai.onnx", *_formulas(DECOMPOSITIONS)]
    return "\n".join([*lines, "", "No gradient by nature: " + ", ".join(sorted(NON_DIFFERENTIABLE))])


def _formulas(functions: Mapping[str, Any]) -> list[str]:
    width = max(map(len, functions))
    return [
        f"{name:{width}}  {(functions[name].__doc__ or '').splitlines()[0]}" for name in sorted(functions)
    ]


_KINDS = {
    PROVEN: "independent of each other, by proof: explained in any chunks",
    MIXED: "the whole first axis is one sample",
    UNDECIDED: "not known: run alone and among others, and compared, before the first explanation",
    SINGLE: "one a run: the model has a fixed batch of 1",
}


def _nested(entries: Mapping[str, Any], indent: str = "  ") -> list[str]:
    """The entries of an explainer's metadata, a line each."""
    lines = []
    for key, value in sorted(entries.items()):
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}", *_nested(value, indent + "  ")]
        elif key == "limits":
            lines += [f"{indent}{key}: {text}" for text in value]
        else:
            text = str(value)
            lines.append(f"{indent}{key}: {text if len(text) < 100 else text[:97] + '...'}")
    return lines


def _integer_lines(made: Sequence[Mapping[str, Any]]) -> list[str]:
    """The integers that reach the outputs, with the float values that are made of them."""
    if not made:
        return []
    names: dict[str, list[str]] = {}
    for one in made:
        names.setdefault(one["of"], []).append(one["name"])
    lines = [
        "",
        "Integers without gradient, and the float values made of them to explain instead (wrt=..., --wrt)",
    ]
    return lines + [f"  {code}:  {',  '.join(values)}" for code, values in names.items()]


def _feature_lines(inputs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the columns of each input that has some."""
    return [
        line
        for one in inputs
        if "features" in one
        for line in (
            "",
            f"Features of {one['name']}, by which the columns of tables are matched",
            f"  {', '.join(one['features'])}",
        )
    ]


def _operator_lines(operators: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["", "Operators (count, on the way from input to output, rule)"]
    for one in operators:
        rule = one["rule"] or ("NO RULE" + ("" if one["on_path"] else ", not needed"))
        lines.append(f"  {one['count']:>5} {one['on_path']:>5}  {one['name']:24} {rule}")
    return lines
