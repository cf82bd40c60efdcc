"""PyTorch modules to ONNX: `to_onnx` takes a module with example inputs, or an exported program."""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from typing import Any

import onnx

from onnxattr.errors import ConversionError
from onnxattr.files import check_output
from onnxattr.loading.load import load
from onnxattr.loading.meaning.class_names import KEY as CLASS_NAMES_KEY
from onnxattr.loading.meaning.class_names import class_names_text
from onnxattr.loading.preprocessing.files import preprocessing_of
from onnxattr.loading.preprocessing.front import fitted
from onnxattr.loading.preprocessing.spec import KEY as PREPROCESSING_KEY
from onnxattr.loading.weights.files import write

from ..common import layer_rows, onnx_model
from ..common.labels import write_class_names
from . import export as torch_export
from . import layers as torch_layers
from .batches import check_batch
from .calls import as_numpy, calls_of_module, calls_of_program, named_by_calls
from .check import check, check_gradient, in_order
from .running import Runner

_OPSETS = range(18, 24)


def to_onnx(
    module: Any,
    example_inputs: Any = None,
    path: str | os.PathLike[str] | None = None,
    *,
    opset: int = 18,
    verify: bool = True,
    dynamic_batch: bool = True,
    keep_layers: str | Iterable[str] = (),
    weights: Any = None,
) -> onnx.ModelProto:
    """Convert a PyTorch module to ONNX and check the result against it.

    The module is exported in evaluation mode by torch.onnx.export (the exporter of torch.export). The metadata entry
    "onnxattr.layers" says which value of the graph equals the output of which submodule: "path" for its first call,
    "path#2" for the second; several values where it returns several tensors.

    Args:
        module: A `torch.nn.Module`, or a `torch.export.ExportedProgram`, which brings its own example inputs.
        example_inputs: A tensor or array, a tuple or list of them in the order of `forward`, or a dict by name.
        path: Also write the model to this file.
        opset: ONNX opset, 18 to 23.
        verify: Compare the outputs with the module's in ONNX Runtime: the examples, and random inputs of their shapes,
            batches of 2 and 5. Where the module stops gradients (``detach``, ``no_grad``) or has its own, they are
            compared too, and a warning says that they differ. The layer table is filled by comparing values either way.
        dynamic_batch: Whether the first axis of every input is the batch, of any size and named "N"; the others are
            fixed to those of the examples.
        keep_layers: Paths of submodules whose output must be a value of the graph even if that keeps the exporter
            from folding a normalisation into them; "all" for every one.
        weights: The weights of torchvision that the module was made with, such as `ResNet50_Weights.DEFAULT`: the names
            of their classes, and the preprocessing that their `transforms()` do, are kept in the metadata.

    Returns:
        The ONNX model.

    Raises:
        ConversionError: The module cannot be exported, or the outputs differ by more than 1e-4 of their largest value
            (1e-2 where it computes in float16, 8e-2 in bfloat16, whose check is run in float32).
        RuntimeMissingError: `verify` without ONNX Runtime.
    """
    torch = _torch()
    if path is not None:
        check_output(path)
    if opset not in _OPSETS:
        raise ConversionError(f"unsupported opset={opset}; supported: {_OPSETS.start} to {_OPSETS.stop - 1}.")
    program = isinstance(module, torch.export.ExportedProgram)
    dynamic_batch = dynamic_batch and not program
    if program:
        examples = dict(enumerate(module.example_inputs[0])) | dict(module.example_inputs[1])
    else:
        module = torch_export.module_of(torch, module)
        examples = torch_export.examples_of(torch, module, example_inputs, dynamic_batch)
    keep = {keep_layers} if isinstance(keep_layers, str) else set(keep_layers)
    with contextlib.nullcontext() if program else torch_export.evaluating(module):
        run = Runner(torch, module.module() if program else module)
        exported = torch_export.export(torch, module, run, examples, opset, dynamic_batch, keep)
        converted = exported.model
        torch_export.check_model(converted)
        if dynamic_batch:
            check_batch(converted)
        if verify:
            check(torch, converted, run, examples, exported.batches)
            check_gradient(torch, converted, run, examples)
        _write_layers(torch, exported, None if program else run, examples)
    write_class_names(converted, module)
    if weights is not None:
        _describe(converted, weights)
    onnx_model.set_versions(converted, opset, ("torch", "onnxscript"))
    if path is not None:
        write(converted, path)
    return converted


def _write_layers(
    torch: Any, exported: torch_export.Exported, run: Runner | None, examples: dict[Any, Any]
) -> None:
    names = [value.name for value in exported.model.graph.input]
    feeds = dict(zip(names, map(as_numpy, in_order(examples, names)), strict=True))
    if run is None:
        calls = calls_of_program(torch, exported.program, examples)
        modules: dict[str, str] = {}
    else:
        calls = calls_of_module(torch, run, examples, exported.parts)
        calls = [call for call in calls if not _makes_weights(call.path)]
        parts = run.module.named_modules()
        modules = {path: type(part).__name__ for path, part in parts if path and not _makes_weights(path)}
    ran = {call.path.partition(layer_rows.CALL)[0] for call in calls}
    uncalled = {path: name for path, name in modules.items() if path not in ran}
    named = named_by_calls(exported.program.graph, exported.parts)
    torch_layers.write_table(exported.model, calls, exported.parts, named, feeds, uncalled)


def _makes_weights(path: str) -> bool:
    """Whether a module of that path is a parametrization, which sees weights and no inputs."""
    return "parametrizations" in path.split(".")


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


def _describe(converted: onnx.ModelProto, weights: Any) -> None:
    """Write the names of classes and the preprocessing of torchvision's weights into the metadata."""
    spec = replace(preprocessing_of(weights.transforms()), source=f"torchvision {weights}")
    onnx_model.set_property(converted, PREPROCESSING_KEY, fitted(spec, load(converted)).text())
    if (names := weights.meta.get("categories")) is not None:
        onnx_model.set_property(converted, CLASS_NAMES_KEY, class_names_text(names))
