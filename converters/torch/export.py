"""torch.onnx.export, driven: examples by name, evaluation mode, and modules whose output shall stay a value."""

import contextlib
import inspect
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from onnxattr.errors import ConversionError

from ..common import layer_rows, onnx_model
from ..common.patching import applied
from . import translations
from .calls import calls_of_nodes, leaving
from .optimiser import OPTIMISER


@dataclass(frozen=True)
class Exported:
    """A converted model.

    Attributes:
        model: The model.
        program: The `ExportedProgram` that it was made of.
        parts: Name of each node of the program -> the calls of modules that it is part of, and their classes.
    """

    model: onnx.ModelProto
    program: Any
    parts: dict[str, dict[str, str]]


def named_examples(torch: Any, module: Any, given: Any, dynamic_batch: bool) -> dict[str, Any]:
    """The example inputs by the name of `forward`'s parameter, of at least two rows: one would be taken as fixed.

    Raises:
        ConversionError: They are missing, too many, or have no batch axis.
    """
    if given is None:
        raise ConversionError("example_inputs are missing: give one batch as the module takes it.")
    parameters = [
        name
        for name, parameter in inspect.signature(module.forward).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if not isinstance(given, Mapping):
        parts = list(given) if isinstance(given, (tuple, list)) else [given]
        if len(parts) > len(parameters):
            raise ConversionError(
                f"{len(parts)} example inputs were given; forward takes {parameters}. Inputs in *args cannot be named: "
                "wrap the module in one with parameters of its own."
            )
        given = dict(zip(parameters, parts, strict=False))
    examples = {name: torch.as_tensor(part) for name, part in given.items()}
    if dynamic_batch:
        scalars = [name for name, tensor in examples.items() if tensor.ndim == 0]
        if scalars:
            raise ConversionError(
                f"Inputs {scalars} have no batch axis. Convert with dynamic_batch=False, or make them attributes."
            )
        examples = {k: torch.cat([t, t]) if len(t) == 1 else t for k, t in examples.items()}
    return examples


@contextlib.contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Evaluation mode for a while; submodules get back the modes they had."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def export(
    torch: Any,
    source: Any,
    examples: dict[Any, Any],
    opset: int,
    dynamic_batch: bool,
    keep: Iterable[str] = (),
) -> Exported:
    """Export a module or an exported program and let the exporter's optimiser run over it.

    Args:
        torch: The package.
        source: The module, in evaluation mode, or the program.
        examples: Inputs of a module by name.
        opset: ONNX opset.
        dynamic_batch: Whether the first axis of a module's inputs is a batch of any size.
        keep: Paths of modules whose outputs stay values; "all" for every one.

    Raises:
        ConversionError: The exporter fails, or no module of that path runs.
    """
    settings: dict[str, Any] = {"dynamo": True, "opset_version": opset, "verbose": False, "optimize": False}
    settings["custom_translation_table"] = translations.table(torch)
    if isinstance(source, torch.nn.Module):
        batch = torch.export.Dim(onnx_model.BATCH, min=1)
        shapes = {name: {0: batch} for name in examples} if dynamic_batch else None
        settings |= {"kwargs": examples, "dynamic_shapes": shapes}
    try:
        with _quiet(), torch.no_grad():
            outputs = source(**examples) if isinstance(source, torch.nn.Module) else None
            if isinstance(outputs, Mapping):
                settings["output_names"] = [str(name) for name in outputs]
            made = torch.onnx.export(source, (), **settings)
            parts = calls_of_nodes(made.exported_program.graph)
            with _kept(made, parts, keep), applied(OPTIMISER):
                made.optimize()
            return Exported(made.model_proto, made.exported_program, parts)
    except ConversionError:
        raise
    except Exception as error:
        advice = (
            " If a batch of any size is what fails, convert with dynamic_batch=False; if it is an operator, the older"
            if dynamic_batch
            else " The older"
        )
        reason = " ".join(str(error.__cause__ or error).split())[:600]
        raise ConversionError(
            f"torch.onnx.export could not convert {type(source).__name__}: {reason}.{advice} exporter may have it: "
            "torch.onnx.export(module, inputs, path, dynamo=False) writes a file to explain."
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    loggers = [
        logging.getLogger(name) for name in ("torch.onnx", "torch.onnx._internal.exporter._registration")
    ]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _kept(made: Any, parts: Mapping[str, dict[str, str]], keep: Iterable[str]) -> Iterator[None]:
    """The outputs of modules are outputs of the graph for a while, which no optimiser merges into others."""
    calls = dict.fromkeys(call for names in parts.values() for call in names)
    paths = {call: call.partition(layer_rows.CALL)[0] for call in calls}
    layer_rows.check_kept(keep, paths.values())
    wanted = {
        node.name
        for call, path in paths.items()
        if "all" in keep or path in keep
        for node in leaving(made.exported_program.graph, parts, call)
    }
    graph = made.model.graph
    own = len(graph.outputs)
    values = [value for node in graph for value in node.outputs]
    graph.outputs.extend(v for v in values if v.name in wanted and v not in graph.outputs)
    try:
        yield
    finally:
        del graph.outputs[own:]


def check_model(converted: onnx.ModelProto) -> None:
    """Run the ONNX checker, without the shapes that the exporter declares of inner values if they contradict inference.

    The exporter writes some wrongly, of the states of recurrent layers that are called twice.

    Raises:
        ConversionError: Says what the checker found.
    """
    names = [value.name for value in converted.graph.input]
    try:
        onnx_model.check_model(converted, names)
    except ConversionError as error:
        if not isinstance(error.__cause__, onnx.shape_inference.InferenceError):
            raise
        del converted.graph.value_info[:]
        onnx_model.check_model(converted, names)


def check_batch(converted: onnx.ModelProto) -> None:
    """Refuse a model whose inputs have the examples' batch.

    Raises:
        ConversionError: Names the inputs.
    """
    fixed = [
        v.name for v in converted.graph.input if v.type.tensor_type.shape.dim[0].dim_param != onnx_model.BATCH
    ]
    if fixed:
        raise ConversionError(
            f"The exporter fixed the batch of {fixed} to that of the examples: the module turns it into a number of "
            "Python, as len(x) and int(...) do. Use x.shape[0], or convert with dynamic_batch=False."
        )
