"""torch.onnx.export, driven: examples by name, evaluation mode, and modules whose output shall stay a value."""

import contextlib
import importlib
import inspect
import logging
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

import onnx

from onnxattr.errors import ConversionError

from ..common import layer_rows, onnx_model
from ..common.patching import applied
from . import translations
from .batches import batches_of, made_of
from .calls import calls_of_nodes, leaving
from .composites import BATCHED
from .functions import WRITTEN
from .optimiser import EXPORTER, OPTIMISER
from .reasons import why_not
from .refused_layers import check_layers, compiled
from .running import Runner, has_hooks, split, without_fast_path

_WRAP = "wrap the module in one whose forward takes each tensor as a parameter of its own."


@dataclass(frozen=True)
class Exported:
    """A converted model.

    Attributes:
        model: The model.
        program: The `ExportedProgram` that it was made of.
        parts: Name of each node of the program -> the calls of modules that it is part of, and their classes.
        batches: Numbers of rows on which it is to be compared with the module; None for those of the examples.
    """

    model: onnx.ModelProto
    program: Any
    parts: dict[str, dict[str, str]]
    batches: tuple[int | None, ...]


def module_of(torch: Any, given: Any) -> Any:
    """The module itself, without what runs it compiled or in parallel.

    Raises:
        ConversionError: Something else was given than a module of Python.
    """
    if isinstance(given, torch.jit.ScriptModule):
        raise ConversionError(
            f"{type(given).__name__} is compiled by torch.jit, which torch.export does not take. Convert the module "
            "that it was made of, or write a file to explain by torch.onnx.export(module, inputs, path, dynamo=False)."
        )
    if not isinstance(given, torch.nn.Module):
        raise ConversionError(
            f"{type(given).__name__} was given; expected a torch.nn.Module or a torch.export.ExportedProgram. "
            "A state dict holds weights alone: load it into its module."
        )
    parallel = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    inner = given.module if isinstance(given, parallel) else getattr(given, "_orig_mod", None)
    # A hook of the outer module is part of what it computes.
    return given if inner is None or has_hooks(given) else module_of(torch, inner)


def examples_of(torch: Any, module: Any, given: Any, dynamic_batch: bool) -> dict[Any, Any]:
    """Copies of the example inputs, of at least two rows: one would be taken as fixed.

    They have numbers where they are positional, and names where they were given by name: hooks see the difference.

    Raises:
        ConversionError: They are missing, too many, no tensors, or have no batch axis.
    """
    if given is None:
        raise ConversionError("example_inputs are missing: give one batch as the module takes it.")
    parameters = inspect.signature(module.forward).parameters.values()
    if isinstance(given, Mapping):
        _check_names(list(given), parameters)
    else:
        given = dict(enumerate(given if isinstance(given, (tuple, list)) else [given]))
        _check_number(len(given), parameters)
    examples = {name: _tensor(torch, name, part) for name, part in given.items()}
    if dynamic_batch:
        scalars = [name for name, tensor in examples.items() if tensor.ndim == 0]
        if scalars:
            raise ConversionError(
                f"Inputs {scalars} have no batch axis. Convert with dynamic_batch=False, or make them attributes."
            )
        examples = {k: torch.cat([t, t]) if len(t) == 1 else t for k, t in examples.items()}
    return examples


def _check_names(names: list[str], parameters: Collection[inspect.Parameter]) -> None:
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConversionError(
            f"Example inputs {unknown} were given; forward takes {known}. Inputs in **kwargs cannot be named: {_WRAP}"
        )


def _check_number(number: int, parameters: Collection[inspect.Parameter]) -> None:
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if number > len(known) and not any(p.kind == p.VAR_POSITIONAL for p in parameters):
        raise ConversionError(f"{number} example inputs were given; forward takes {known}.")


def _tensor(torch: Any, name: int | str, part: Any) -> Any:
    try:
        with warnings.catch_warnings():  # of lists of arrays, slow ones
            warnings.simplefilter("ignore")
            return torch.as_tensor(part).detach().clone()
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConversionError(
            f"Example input {name!r} is no tensor or array but a {type(part).__name__}: {error}. {_WRAP.capitalize()}"
        ) from error


@contextlib.contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Evaluation mode for a while; submodules get back the modes they had."""
    modes = {part: part.training for part in module.modules()}
    with contextlib.suppress(
        NotImplementedError
    ):  # of the module of an exported program, which keeps its mode
        module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def export(
    torch: Any,
    source: Any,
    run: Runner,
    examples: dict[Any, Any],
    opset: int,
    dynamic_batch: bool,
    keep: Iterable[str] = (),
) -> Exported:
    """Export a module or an exported program and let the exporter's optimiser run over it.

    Args:
        torch: The package.
        source: The module, in evaluation mode, or the program.
        run: Runs it.
        examples: Inputs of a module by name or number.
        opset: ONNX opset.
        dynamic_batch: Whether the first axis of a module's inputs is a batch of any size.
        keep: Paths of modules whose outputs stay values; "all" for every one.

    Raises:
        ConversionError: The exporter fails, or no module of that path runs.
    """
    settings: dict[str, Any] = {"dynamo": True, "opset_version": opset, "verbose": False, "optimize": False}
    settings["custom_translation_table"] = translations.table(torch)
    parametrize, args = torch.nn.utils.parametrize, ()
    if isinstance(source, torch.nn.Module):
        check_layers(torch, source)
        args, settings["kwargs"] = split(examples)
    try:
        # What parametrizations make of weights is made once, by the first run: the graph holds it, not its making.
        with (
            _quiet(),
            _levels(torch),
            torch.no_grad(),
            without_fast_path(torch),
            run.unchanged(),
            parametrize.cached(),
        ):
            if isinstance(source, torch.nn.Module) and isinstance(outputs := run(examples), Mapping):
                settings["output_names"] = [str(name) for name in outputs]
            with applied(EXPORTER + WRITTEN, torch), applied(BATCHED if dynamic_batch else (), torch):
                made, ranged = made_of(torch, source, args, settings, dynamic_batch)
            parts = calls_of_nodes(made.exported_program.graph)
            with _kept(made, parts, keep), applied(OPTIMISER):
                made.optimize()
            for node in made.model.graph.all_nodes():
                # Paths and lines of the author's code, in what is to be given to others.
                node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
            batches = batches_of(made.exported_program, examples, ranged) if dynamic_batch else (None,)
            return Exported(made.model_proto, made.exported_program, parts, batches)
    except ConversionError:
        raise
    except Exception as error:
        said = why_not(error, type(source).__name__, dynamic_batch)
        raise ConversionError(f"{said}{compiled(torch, source)}") from error


@contextlib.contextmanager
def _levels(torch: Any) -> Iterator[None]:
    """Leaves torch.func's transformations that an export which fails inside one has entered and not left.

    PyTorch would take them for those of all that is computed later in the process.
    """
    functorch = torch._C._functorch
    depth = functorch.get_dynamic_layer_stack_depth()
    try:
        yield
    finally:
        if functorch.get_dynamic_layer_stack_depth() > depth:
            functorch.pop_dynamic_layer_stack_and_undo_to_depth(depth)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # The optimiser logs, without their names, constants that it could not fold and leaves to the runtime.
    names = (
        "torch.onnx",
        "torch.onnx._internal.exporter._registration",
        "onnxscript.optimizer",
        "onnx_ir",  # of attributes without elements, and of equal weights
        "torch.fx.experimental.symbolic_shapes",  # of what why_not says
    )
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    trace = importlib.import_module("torch.export._trace")
    try:
        # It prints the graph up to an error, hundreds of lines; why_not says where that is.
        with warnings.catch_warnings(), mock.patch.object(trace, "print", _say_nothing, create=True):
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _say_nothing(*_: Any, **__: Any) -> None:
    pass


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
        if "bfloat16" in str(error):
            raise ConversionError(
                f"An operator has no form in bfloat16: {error.__cause__}. Convert with opset=22, where more have one, "
                "or module.float(), which computes in float32 with the same weights."
            ) from error
        del converted.graph.value_info[:]
        onnx_model.check_model(converted, names)
