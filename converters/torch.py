"""PyTorch modules to ONNX: `to_onnx` takes a module with example inputs, or an exported program."""

import contextlib
import inspect
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import onnx

from onnxattr.errors import ConversionError
from onnxattr.finish_graph import write

from . import onnx_finish, torch_layers
from .verify import TOLERANCE, TOLERANCE_FLOAT16, Session, difference

_OPSETS = range(18, 24)


def to_onnx(
    module: Any,
    example_inputs: Any = None,
    path: str | os.PathLike[str] | None = None,
    *,
    opset: int = 18,
    verify: bool = True,
    dynamic_batch: bool = True,
) -> onnx.ModelProto:
    """Convert a PyTorch module to ONNX and check the result against it.

    The module is exported in evaluation mode by torch.onnx.export (the exporter of torch.export). The metadata entry
    "onnxattr.layers" says which value of the graph equals the output of which submodule.

    Args:
        module: A `torch.nn.Module`, or a `torch.export.ExportedProgram`, which brings its own example inputs.
        example_inputs: A tensor or array, a tuple or list of them in the order of `forward`, or a dict by name.
        path: Also write the model to this file.
        opset: ONNX opset, 18 to 23.
        verify: Compare the outputs with the module's in ONNX Runtime: the examples, and random inputs of their shapes,
            batches of 2 and 5. The layer table is filled by comparison too, and stays empty without it.
        dynamic_batch: Whether the first axis of every input is the batch, of any size and named "N"; the others are
            fixed to those of the examples.

    Returns:
        The ONNX model.

    Raises:
        ConversionError: The module cannot be exported, or the outputs differ by more than 1e-4 of their largest value
            (1e-2 where an input or output is of half precision).
        RuntimeMissingError: `verify` without ONNX Runtime.
    """
    torch = _torch()
    if opset not in _OPSETS:
        raise ConversionError(
            f"opset={opset} was asked for; torch.onnx writes {_OPSETS.start} to {_OPSETS.stop - 1} well."
        )
    program = module if isinstance(module, torch.export.ExportedProgram) else None
    if program is not None:
        examples: dict[Any, Any] = dict(enumerate(program.example_inputs[0])) | dict(
            program.example_inputs[1]
        )
        run, dynamic_batch = program.module(), False
    elif isinstance(module, torch.nn.Module):
        examples, run = _examples(torch, module, example_inputs, dynamic_batch), module
    else:
        raise ConversionError(
            f"{type(module).__name__} was given; expected a torch.nn.Module or a torch.export.ExportedProgram. "
            "A state dict holds weights alone: load it into its module."
        )
    with _evaluating(module) if program is None else contextlib.nullcontext():
        converted = _export(torch, module if program is None else program, examples, opset, dynamic_batch)
        names = [value.name for value in converted.graph.input]
        onnx_finish.check_model(converted, names)
        if dynamic_batch:
            _check_batch(converted)
        if verify:
            _check(torch, converted, run, examples, dynamic_batch)
            if program is None:
                torch_layers.write_table(torch, converted, module, list(examples.values()), list(examples))
    onnx_finish.set_versions(converted, opset, ("torch", "onnxscript"))
    if path is not None:
        write(converted, path)
    return converted


def _torch() -> Any:
    for name in ("onnxscript", "torch"):
        try:
            package = import_module(name)
        except ImportError as error:
            raise ConversionError(
                f"Converting a PyTorch module needs the package {name!r}, which cannot be imported ({error}): "
                "pip install 'onnxattr[torch]'"
            ) from error
    return package


def _examples(torch: Any, module: Any, given: Any, dynamic_batch: bool) -> dict[str, Any]:
    """The example inputs by the name of `forward`'s parameter, of at least two rows: one would be taken as fixed."""
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
def _evaluating(module: Any) -> Iterator[None]:
    """Evaluation mode for a while; submodules get back the modes they had."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def _export(torch: Any, source: Any, examples: dict, opset: int, dynamic_batch: bool) -> onnx.ModelProto:
    settings: dict[str, Any] = {"dynamo": True, "opset_version": opset, "verbose": False}
    if isinstance(source, torch.nn.Module):
        batch = torch.export.Dim(onnx_finish.BATCH, min=1)
        shapes = {name: {0: batch} for name in examples} if dynamic_batch else None
        settings |= {"kwargs": examples, "dynamic_shapes": shapes}
    quiet = [
        logging.getLogger(name) for name in ("torch.onnx", "torch.onnx._internal.exporter._registration")
    ]
    levels = [logger.level for logger in quiet]
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            for logger in quiet:
                logger.setLevel(logging.ERROR)
            outputs = source(**examples) if isinstance(source, torch.nn.Module) else None
            if isinstance(outputs, Mapping):
                settings["output_names"] = [str(name) for name in outputs]
            return torch.onnx.export(source, (), **settings).model_proto
    except Exception as error:
        advice = (
            " If a batch of any size is what fails, convert with dynamic_batch=False."
            if dynamic_batch
            else ""
        )
        reason = " ".join(str(error.__cause__ or error).split())[:600]
        raise ConversionError(
            f"torch.onnx.export could not convert {type(source).__name__}: {reason}.{advice}"
        ) from error
    finally:
        for logger, level in zip(quiet, levels, strict=True):
            logger.setLevel(level)


def _check_batch(converted: onnx.ModelProto) -> None:
    fixed = [
        v.name
        for v in converted.graph.input
        if v.type.tensor_type.shape.dim[0].dim_param != onnx_finish.BATCH
    ]
    if fixed:
        raise ConversionError(
            f"The exporter fixed the batch of {fixed} to that of the examples: the module turns it into a number of "
            "Python, as len(x) and int(...) do. Use x.shape[0], or convert with dynamic_batch=False."
        )


def _check(torch: Any, converted: onnx.ModelProto, run: Any, examples: dict, dynamic_batch: bool) -> None:
    session, generator = Session(converted), np.random.default_rng(0)
    names = [value.name for value in converted.graph.input]
    drawn = (
        {name: _random(torch, generator, tensor, rows) for name, tensor in examples.items()}
        for rows in ((2, 5) if dynamic_batch else (None,))
    )
    for batch in (examples, *drawn):
        with torch.no_grad():
            positional = [tensor for name, tensor in batch.items() if isinstance(name, int)]
            outputs = run(*positional, **{k: t for k, t in batch.items() if isinstance(k, str)})
        expected = [t for t in torch.utils._pytree.tree_leaves(outputs) if isinstance(t, torch.Tensor)]
        tensors = [batch[name] if name in batch else list(batch.values())[i] for i, name in enumerate(names)]
        found = session.run(dict(zip(names, map(torch_layers.as_numpy, tensors), strict=True)))
        halves = any(t.dtype in (torch.float16, torch.bfloat16) for t in [*expected, *tensors])
        for value, array, tensor in zip(converted.graph.output, found, expected, strict=True):
            worst = difference(np.asarray(array), torch_layers.as_numpy(tensor))
            if not worst <= (TOLERANCE_FLOAT16 if halves else TOLERANCE):
                raise ConversionError(
                    f"Output {value.name!r} of the converted model differs from the module's by {worst:.2g} of its "
                    "largest value. Check that the module computes the same each time, and try another opset."
                )


def _random(torch: Any, generator: np.random.Generator, example: Any, rows: int | None) -> Any:
    """Numbers in the shape of an example: normal ones, or integers in the example's range."""
    shape = [rows if rows and not axis else size for axis, size in enumerate(example.shape)]
    if example.dtype.is_floating_point:
        return torch.as_tensor(generator.normal(size=shape)).to(example.dtype)
    low, high = int(example.min()), int(example.max())
    return torch.as_tensor(generator.integers(low, high + 1, size=shape)).to(example.dtype)
