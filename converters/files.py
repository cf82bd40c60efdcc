"""Files to ONNX, as `onnxattr convert` does it: tells by the name what a file is, and whether opening it runs code."""

import os
import zipfile
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import onnx

from onnxattr.errors import ConversionError, ParameterError, ShapeError
from onnxattr.files import check_output
from onnxattr.home import at_home
from onnxattr.inputs.array_files import read_arrays
from onnxattr.loading.meaning.stated import Stated
from onnxattr.loading.preprocessing.annotate import annotated
from onnxattr.loading.reading.source import read_model
from onnxattr.loading.weights.files import write, write_model

from .common.causes import cause
from .common.trust import TRUST
from .keras.reading.archive import check_members
from .keras.reading.saved_models import refuse_signature

_WEIGHTS = (".pt", ".pth", ".ckpt", ".safetensors")
_PICKLES = (".pkl", ".pickle", ".joblib")
_SKLEARN = (*_PICKLES, ".skops")


def convert_file(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    opset: int | None = None,
    verify: bool = True,
    keep_layers: str | Iterable[str] = (),
    sample: Any = None,
    trust: bool = False,
    signature: str | None = None,
    preprocess: Any = None,
    attributions_at: str | None = None,
    by_column: bool = False,
    **stated: Any,
) -> onnx.ModelProto:
    """Convert a file of another framework; nothing that could run code of its own is opened without `trust`.

    Args:
        path: `.keras`, `.h5`, `.hdf5` or a SavedModel folder (Keras); `.pt2` of torch.export (PyTorch); `.skops`,
            `.joblib`, `.pkl` or `.pickle` (scikit-learn).
        output: The ONNX file to write.
        opset: ONNX opset; the converter's default if None.
        verify: Compare the outputs with the original's.
        keep_layers: Layers that must stay usable, of Keras and PyTorch models.
        sample: Rows as a scikit-learn estimator takes them, or a batch for a Keras model: an array, or a `.npy` file;
            rows also a `.csv` or `.parquet` file, with columns of text too.
        trust: Open files whose loading can run code.
        signature: Which function of a SavedModel folder, as `onnxattr.converters.keras.to_onnx` takes it.
        preprocess: What is put in front of the model's image input, as methods take it; a `.onnx` file is taken too
            then.
        attributions_at: "pixels" or "input": what is explained of the file unless somebody asks for the other.
        by_column: Whether the model of a scikit-learn estimator has one input for each column of the sample's table.
        **stated: `labels`, `units`, `sampling_rate`, `vocabulary` and `output_kind`, as methods take them.

    Returns:
        The ONNX model.

    Raises:
        ParameterError: The preprocessing, or what is said, does not fit the model.
        ConversionError: Not a file of these, not to be opened without trust, without the sample that it needs, or not
            convertible.
    """
    path, sample = at_home(path), at_home(sample)
    suffix = Path(path).suffix.lower()
    said = Stated(**stated)
    adds = preprocess is not None or bool(said)
    if attributions_at is not None and preprocess is None:
        raise ParameterError(
            "attributions_at (--attributions-at) says where preprocessing is explained: it needs preprocess."
        )
    if not adds or suffix != ".onnx":
        _check(path, suffix, sample, keep_layers, trust)
        if suffix in (".pt2", *_SKLEARN):
            refuse_signature(signature, f"{path} is none")
    else:
        given = {"opset": opset is not None, "keep_layers": bool(keep_layers), "sample": sample is not None}
        given |= {"signature": signature is not None, "by_column": by_column}
        if odd := [name for name, is_given in given.items() if is_given]:
            option = "--keep-layer" if odd[0] == "keep_layers" else f"--{odd[0].replace('_', '-')}"
            raise ParameterError(
                f"{odd[0]} ({option}) is for models of other frameworks; {path} is ONNX, and its nodes stay."
            )
    if by_column and suffix not in _SKLEARN:
        raise ParameterError(
            f"by_column=True (--by-column) is for scikit-learn; {path} is no file of an estimator."
        )
    described = [given for given in (preprocess, *said.files) if isinstance(given, (str, os.PathLike))]
    check_output(output, [*_files_read(path, sample), *described])
    if adds and suffix == ".onnx":
        located = read_model(path)
        model = annotated(path, preprocess, attributions_at=attributions_at, **stated)
        write_model(model, output, "auto", located.folder, located.files)
        return model
    settings: dict[str, Any] = {"verify": verify} | ({} if opset is None else {"opset": opset})
    settings |= {} if signature is None else {"signature": signature}
    settings |= {"by_column": True} if by_column else {}
    converted = _converted(path, None if adds else output, suffix, sample, keep_layers, trust, settings)
    if adds:
        converted = annotated(converted, preprocess, attributions_at=attributions_at, **stated)
        write(converted, output)
    return converted


def _converted(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str] | None,
    suffix: str,
    sample: Any,
    keep_layers: str | Iterable[str],
    trust: bool,
    settings: dict[str, Any],
) -> onnx.ModelProto:
    """The ONNX model of a file that may be opened, which is also written where there is an `output`."""
    if suffix == ".pt2":
        from . import torch as torch_converter

        program = _opened(path, "torch", lambda torch: torch.export.load(path))
        return torch_converter.to_onnx(program, None, output, keep_layers=keep_layers, **settings)
    if suffix in _SKLEARN:
        from . import sklearn as sklearn_converter
        from .sklearn.rows_of_files import read_rows

        estimator, by_column = _estimator(path, suffix, trust), settings.get("by_column", False)
        rows = _read(sample, lambda sample: read_rows(sample, estimator, by_column))
        return sklearn_converter.to_onnx(estimator, rows, output, **settings)
    from . import keras

    return keras.to_onnx(
        path, output, sample=_read(sample, read_arrays), keep_layers=keep_layers, trust=trust, **settings
    )


def _check(path: Any, suffix: str, sample: Any, keep_layers: Any, trust: bool) -> None:
    """Refuse what cannot be converted before anything is opened."""
    if suffix == ".onnx":
        raise ConversionError(
            f"{path} is ONNX already: `onnxattr explain` and `onnxattr export` take it as it is. With --preprocess or "
            "--labels it is written anew, and so with --vocabulary, --units, --sampling-rate and --output-kind."
        )
    if suffix in _WEIGHTS:
        raise ConversionError(
            f"{path} is a PyTorch file of weights, or of pickled objects that run code while they are loaded; the "
            "module is not in it. Make the module in Python, load its state dict, and call onnxattr.converters.torch"
            ".to_onnx(module, example_inputs, path); or save torch.export.export(module, inputs) as a .pt2 file."
        )
    if suffix == ".pt2" and not trust:
        raise ConversionError(
            f"{path} is an exported PyTorch program, whose loading can run code, so it is not opened here. {TRUST} "
            "Or load it in Python and call onnxattr.converters.torch.to_onnx(program, None, path)."
        )
    if suffix in _PICKLES and not trust:
        raise ConversionError(
            f"{path} holds pickled objects, which can run code while they are loaded, so it is not opened here. "
            f"{TRUST} Or save the estimator with skops.io.dump as a .skops file, or load it in Python and call "
            "onnxattr.converters.sklearn.to_onnx(estimator, sample, path)."
        )
    if suffix in (".pt2", *_SKLEARN) and not Path(path).is_file():
        raise ConversionError(f"{path} does not exist or is not a file.")
    if suffix in _SKLEARN and sample is None:
        raise ConversionError(
            f"{path}: a scikit-learn estimator is converted with sample rows, (n, features): --sample rows.npy."
        )
    if suffix in _SKLEARN and keep_layers:
        raise ConversionError(
            f"{path}: --keep-layer is for Keras and PyTorch; every step of a pipeline stays."
        )


def _files_read(path: Any, sample: Any) -> list[Any]:
    """The files that a conversion reads, those of a SavedModel's folder included."""
    inner = Path(path).rglob("*") if Path(path, "saved_model.pb").is_file() else ()
    return [path, *inner, *([sample] if isinstance(sample, (str, os.PathLike)) else [])]


def _read(sample: Any, read: Callable[[Any], Any]) -> Any:
    """Samples as they are given, or what is read of their file."""
    if not isinstance(sample, (str, os.PathLike)):
        return sample
    try:
        return read(sample)
    except ShapeError as error:
        raise ConversionError(f"The sample {error}") from error


def _estimator(path: Any, suffix: str, trust: bool) -> Any:
    if suffix == ".joblib":
        return _opened(path, "joblib", lambda joblib: joblib.load(path))
    if suffix == ".skops":
        return _opened(path, "skops.io", lambda io: _known(io, path, trust))
    return _opened(path, "pickle", lambda pickle: pickle.loads(Path(path).read_bytes()))


def _known(io: Any, path: Any, trust: bool) -> Any:
    """An estimator of a skops file, made of classes that run no code of their own unless they are trusted."""
    if not trust:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, Path(path))
    unknown = io.get_untrusted_types(file=path)
    if unknown and not trust:
        raise ConversionError(f"{path} holds objects that skops does not know to be safe: {unknown}. {TRUST}")
    return io.load(path, trusted=unknown)


def _opened(path: Any, package: str, load: Any) -> Any:
    try:
        return load(import_module(package))
    except ConversionError:
        raise
    except ImportError as error:
        raise ConversionError(
            f"{path} cannot be loaded ({error}). Install what it was made with: pip install "
            f"{package.partition('.')[0]}, or the package that is named here."
        ) from error
    except Exception as error:
        raise ConversionError(
            f"{path} cannot be loaded: {cause(error)}. Save it again, with the versions that are installed here."
        ) from error
