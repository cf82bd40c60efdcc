"""An explainer as a model of Triton Inference Server's ONNX Runtime backend: the file and its config.pbtxt."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from onnxattr.compile.explainer_file import describe
from onnxattr.compile.renderings.model_graph import own_name
from onnxattr.errors import ModelError, ParameterError
from onnxattr.files import check_output, locked, made_folder, whole_file
from onnxattr.home import at_home
from onnxattr.loading.reading.source import metadata_of
from onnxattr.loading.rows.independence import MIXED
from onnxattr.loading.weights.files import check_place, write_model
from onnxattr.running.explainers.record import recorded
from onnxattr.signals import undisturbed

if TYPE_CHECKING:
    from onnxattr.attributions.base import Attribution

#: Most rows that the server joins into one run, where rows of several requests can be joined.
MAX_BATCH_SIZE = 8

#: The file of the names of classes, which Triton reads.
LABELS = "labels.txt"

_TYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "TYPE_FP32",
    onnx.TensorProto.DOUBLE: "TYPE_FP64",
    onnx.TensorProto.FLOAT16: "TYPE_FP16",
    onnx.TensorProto.BFLOAT16: "TYPE_BF16",
    onnx.TensorProto.BOOL: "TYPE_BOOL",
    onnx.TensorProto.STRING: "TYPE_STRING",
}
_INTEGERS = [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
_TYPES |= {getattr(onnx.TensorProto, name): f"TYPE_{name}" for name in _INTEGERS}


def export_triton(
    method: Attribution,
    folder: str | os.PathLike[str],
    *,
    weights: str = "auto",
    check: bool = True,
    **options: Any,
) -> None:
    """Writes a folder for a Triton model repository; the folder's name is the name of the model.

    In it are ``1/model.onnx`` and ``config.pbtxt``, and ``labels.txt`` if the model names its classes, so that requests
    may ask for classes by name (Triton's classification extension). With preprocessing in front it takes photos of any
    size, uint8; the server joins those of one size. Where there is noise, ``seed`` has the shape (1,): Triton's tensors
    have an axis at least. Rows of several requests are joined into one run, unless the noise of a row, which depends on
    its place, would then depend on the other requests.

    Args:
        method: The method to export.
        folder: The folder to write; made if it is not there.
        weights: Where the weights go, as in ``method.export``.
        check: Whether the model's file is run once before it gets its name, as in ``method.export``.
        **options: Options of ``method.explainer``.

    Raises:
        ModelError: If the model has an input that Triton cannot take: a scalar, or of a type of ONNX alone.
        ParameterError: If an option is outside its domain, or a file cannot be written.
    """
    check_place(weights)
    folder = at_home(folder)
    path, settings, names = (
        Path(folder, *parts) for parts in (("1", "model.onnx"), ("config.pbtxt",), (LABELS,))
    )
    _check_folder(folder, [path, settings, names], method.files_read)
    proto = method.explainer(**options)
    seeds = [value for value in proto.graph.input if value.name == own_name(method.prepared, "seed")]
    for seed in seeds:
        # What is computed with it takes either shape, by broadcasting.
        seed.type.tensor_type.shape.dim.add().dim_value = 1
    labels = _labels(proto, method)
    text = config(proto, LABELS if labels else None)
    look = recorded(proto, method.prepared, method.providers, method.sizes, check)
    texts = {settings: text} | ({names: "".join(f"{label}\n" for label in labels)} if labels else {})
    # Two exports into one folder take turns; what describes the model gets its name right after it.
    with (
        made_folder(path.parent),
        locked(folder),
        contextlib.ExitStack() as naming,
        contextlib.ExitStack() as files,
    ):
        for target, content in texts.items():
            file = files.enter_context(whole_file(target))
            file.write(content.encode())
            file.flush()

        def last(written: Path) -> bytes:
            """What is done before the model has its name; signals wait from then on until all files have theirs."""
            added = look(written)
            naming.enter_context(undisturbed())
            return added

        write_model(proto, path, weights, method.prepared.folder, method.prepared.files, last)


def _labels(proto: onnx.ModelProto, method: Attribution) -> list[str]:
    """A line for each class that a row of the prediction has; none where names are not known, or of other classes."""
    dims = proto.graph.output[0].type.tensor_type.shape.dim
    labels = [" ".join(label.split()) for label in method.class_names]
    return labels if len(dims) == 2 and dims[1].dim_value == len(labels) else []


def _check_folder(folder: str | os.PathLike[str], paths: Iterable[Path], reads: Sequence[Path]) -> None:
    """Checks before the work that the folder's files can be written, as far as there is a folder."""
    if not os.fspath(folder):
        raise ParameterError("The name of the folder for Triton is empty. Give the path of a folder.")
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise ParameterError(f"{folder} is a file. Give the path of a folder, new or old.")
    for path in paths:
        if path.parent.exists():
            check_output(path, reads)


def config(proto: onnx.ModelProto, labels: str | None = None) -> str:
    """The text of config.pbtxt for an explainer.

    Args:
        proto: The explainer.
        labels: The name of the file of the prediction's classes, in the folder.

    Raises:
        ModelError: If an input is a scalar, or a type is not one of Triton's.
    """
    values = [*proto.graph.input, *proto.graph.output]
    for value in values:
        if not value.type.tensor_type.shape.dim:
            raise ModelError(
                f"{value.name!r} is a scalar; Triton's tensors have an axis at least. Give the model a vector instead."
            )
    # A baseline may have one row for all rows of x: the rows of two requests cannot be joined then.
    firsts = [value.type.tensor_type.shape.dim[0] for value in values]
    about = describe(metadata_of(proto)) or {}
    apart = about.get("rows") != MIXED
    batched = apart and all(_is_free(dim) and dim.dim_param != "baselines" for dim in firsts)
    lines = ['backend: "onnxruntime"', f"max_batch_size: {MAX_BATCH_SIZE if batched else 0}"]
    for kind, described in (("input", proto.graph.input), ("output", proto.graph.output)):
        prediction = described[0].name if kind == "output" else None
        blocks = ",\n".join(
            _block(value, batched, labels if value.name == prediction else None) for value in described
        )
        lines.append(f"{kind} [\n{blocks}\n]")
    return "\n".join([*lines, *["dynamic_batching { }"] * batched, ""])


def _block(value: onnx.ValueInfoProto, batched: bool, labels: str | None = None) -> str:
    """One input or output; with batching the first axis is Triton's own, and none may be left but by a reshape."""
    tensor = value.type.tensor_type
    if tensor.elem_type not in _TYPES:
        name = onnx.TensorProto.DataType.Name(tensor.elem_type)
        raise ModelError(
            f"{value.name!r} is of type {name}, which Triton does not have; its types are {sorted(_TYPES.values())}."
        )
    dims = [-1 if _is_free(dim) else dim.dim_value for dim in tensor.shape.dim]
    dims = dims[1:] if batched else dims
    lines = [f"name: {_quoted(value.name)}", f"data_type: {_TYPES[tensor.elem_type]}", f"dims: {dims or [1]}"]
    if not dims:
        lines.append("reshape: { shape: [ ] }")
    if labels is not None:
        lines.append(f'label_filename: "{labels}"')
    return "  {\n" + "".join(f"    {line}\n" for line in lines) + "  }"


def _quoted(text: str) -> str:
    """A string of Protocol Buffers' text format, which a quotation mark in a name would end."""
    return '"' + re.sub(r'["\\\x00-\x1f\x7f]', lambda found: f"\\{ord(found[0]):03o}", text) + '"'


def _is_free(dim: onnx.TensorShapeProto.Dimension) -> bool:
    return bool(dim.WhichOneof("value") != "dim_value")
