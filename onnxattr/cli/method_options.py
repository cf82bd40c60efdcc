"""The options that say which method explains which model."""

from __future__ import annotations

import argparse
import re
from inspect import signature
from typing import Any

import onnx

from onnxattr import attributions
from onnxattr.attributions.tunnel import KINDS, NOISE_KINDS
from onnxattr.cli.stated_options import add_preprocessing, stated_of
from onnxattr.compile.quadrature import FEWEST, PLACES
from onnxattr.compile.renderings.reducers import REDUCERS
from onnxattr.errors import ParameterError
from onnxattr.inputs.array_files import read_arrays
from onnxattr.inputs.paths import kind_of
from onnxattr.loading.meaning.stated import NAMES as STATED
from onnxattr.loading.reading.source import read_proto

#: The parameters of the methods that options set.
PARAMETERS = (
    "output_layer", "operator", "batch_size", "reducer", "steps", "quadrature", "points", "tolerance", "max_steps",
    "baseline_value", "sigma", "background", "nb_samples", "noise", "seed", "relu_policy", "precision", "verify",
    "conv_layer", "upsampling", "variant", "noise_tunnel", "noise_kind", "neuron", "feature_mask", "preprocess",
    "attributions_at", "channel_axis", *STATED,
)  # fmt: skip
_DEFAULT = "IntegratedGradients"
#: What ``--verify`` says, as the parameter of that name.
VERIFY: dict[str, bool | str] = {"auto": "auto", "always": True, "never": False}


def add_method(parser: argparse.ArgumentParser, help_of_model: str = "", several: bool = False) -> None:
    """Adds the options of methods to a command, which may take several methods."""
    parser.add_argument("model", help="ONNX file" + help_of_model)
    parser.add_argument(
        "--method",
        choices=attributions.METHODS,
        action="append" if several else "store",
        help="IntegratedGradients unless given" + ("; may be given several times" if several else ""),
    )
    parser.add_argument("--output-layer", help="layer name or index, or value name, to cut the model at")
    parser.add_argument(
        "--operator", help="the score: a name, such as 'semantic segmentation', or an ONNX file"
    )
    parser.add_argument(
        "--model-output", help="which of several outputs of the model is explained, by name or index"
    )
    parser.add_argument(
        "--neuron",
        help="explain this channel or unit of the output layer, or the unit at an index such as 3,0,-1",
    )
    parser.add_argument(
        "--wrt",
        action="append",
        help="what to explain: layer name or index, value or node name; may be given several times",
    )
    parser.add_argument(
        "--feature-mask",
        metavar="FILE",
        help="the group of each feature, over which attributions are summed: .npy of integers; .npz for several inputs",
    )
    parser.add_argument("--batch-size", type=int)
    parser.add_argument(
        "--channel-axis", type=int, help="the channel axis of images, where it is not found right"
    )
    parser.add_argument("--reducer", choices=[*REDUCERS, "none"])
    _add_path(parser)
    _add_noise(parser)
    parser.add_argument("--seed", type=int)
    _add_layer_maps(parser)
    parser.add_argument("--relu-policy", choices=["all", "xplique"])
    parser.add_argument(
        "--precision", choices=["model", "float32"], help="float32 widens a half-precision model"
    )
    add_preprocessing(parser)
    add_verify(parser, "auto (small models that were changed) unless given")


def _add_layer_maps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--conv-layer", help="layer of a class activation map; the last convolution unless given"
    )
    parser.add_argument("--upsampling", choices=["bicubic", "bilinear", "nearest", "none"])
    parser.add_argument("--variant", choices=["xplique", "paper"], help="form of GradCAMPP")


def _add_path(parser: argparse.ArgumentParser) -> None:
    """Adds the options of methods on a path."""
    parser.add_argument("--steps", type=int, help="points on the path of IntegratedGradients")
    parser.add_argument("--points", choices=PLACES, help="adaptive: more points where the path needs them")
    parser.add_argument("--tolerance", type=float, help="add points until the relative gap is below it")
    parser.add_argument("--max-steps", type=int, help="most gradients of a sample with --tolerance")
    parser.add_argument("--quadrature", choices=tuple(FEWEST), help="trapezoid unless given")
    parser.add_argument(
        "--baseline-value",
        metavar="VALUE",
        help="where paths start: a number; blur, mean or uniform, made of each sample; or a .npy, .csv or .parquet "
        "file (.npz for several inputs) of one row, or as many as are explained; a row may hold text",
    )
    parser.add_argument("--sigma", type=float, help="standard deviation of blur, in pixels or time steps")
    parser.add_argument(
        "--background",
        metavar="FILE",
        help="baselines to average over, one a row: .npy, .csv or .parquet; .npz for several inputs",
    )


def _add_noise(parser: argparse.ArgumentParser) -> None:
    """Adds the options of noisy methods and of the tunnel."""
    parser.add_argument("--nb-samples", type=int, help="draws of the noisy methods")
    parser.add_argument("--noise", type=float, help="standard deviation of the noise")
    parser.add_argument(
        "--noise-tunnel",
        choices=KINDS,
        help="explain noisy copies with the method, --nb-samples of them with --noise, and give this of the maps",
    )
    parser.add_argument(
        "--noise-kind",
        choices=NOISE_KINDS,
        help="whether the tunnel's --noise is a share of each sample's range",
    )


def add_verify(parser: argparse.ArgumentParser, otherwise: str) -> None:
    """Adds the option that says whether predictions are compared."""
    parser.add_argument(
        "--verify",
        choices=tuple(VERIFY),
        help="whether the prediction of the model, brought to the form that is explained, is compared with its own; "
        + otherwise,
    )


def method_of(options: argparse.Namespace) -> attributions.base.Attribution:
    """The method that the options ask for, on the model that they name."""
    return _made(options, options.method or _DEFAULT, _given(options))


def methods_of(options: argparse.Namespace) -> list[attributions.base.Attribution]:
    """The methods that the options ask for; each is given those of the options that it has.

    Raises:
        ParameterError: If a method is named twice, or none of several has an option.
    """
    names: list[str] = options.method or [_DEFAULT]
    given = _given(options)
    if len(names) == 1:
        return [_made(options, names[0], given)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ParameterError(
            f"--method {twice[0]} is given twice; from Python, export() takes names for the files."
        )
    taken = {name: set(signature(getattr(attributions, name)).parameters) for name in names}
    tunnel = (
        set(signature(attributions.NoiseTunnel).parameters) if options.noise_tunnel is not None else set()
    )
    known = tunnel.union(*taken.values(), ("noise_tunnel",))
    if unknown := [name for name in given if name not in known]:
        raise ParameterError(f"None of {names} has an option --{unknown[0].replace('_', '-')}.")
    kept = tunnel | {"noise_tunnel"}
    return [
        _made(options, name, {key: value for key, value in given.items() if key in taken[name] | kept})
        for name in names
    ]


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The parameters that the options set, by their names in Python."""
    given = {name: value for name in PARAMETERS if (value := getattr(options, name)) is not None}
    given |= stated_of(options)
    given |= {name: None for name in ("reducer", "upsampling") if given.get(name) == "none"}
    if "neuron" in given:
        given["neuron"] = _neuron(given["neuron"])
    if "feature_mask" in given:
        given["feature_mask"] = read_arrays(given["feature_mask"])
    if "verify" in given:
        given["verify"] = VERIFY[given["verify"]]
    if options.model_output is not None:
        given["output"] = options.model_output
    if "baseline_value" in given:
        given["baseline_value"] = _baseline(given["baseline_value"], options.model)
    if "background" in given:
        given["background"] = _rows(given["background"], options.model)
    if options.wrt:
        given["wrt"] = tuple(options.wrt)
    return given


def _made(options: argparse.Namespace, name: str, given: dict[str, Any]) -> attributions.base.Attribution:
    """A method on the model, in a tunnel where that is wanted."""
    given = dict(given)
    kind, tunnel = given.pop("noise_tunnel", None), {}
    if kind is not None:
        names = [key for key in ("nb_samples", "noise", "noise_kind") if key in given]
        tunnel = {key: given.pop(key) for key in names}
    elif "noise_kind" in given:
        raise ParameterError("--noise-kind needs --noise-tunnel.")
    method = getattr(attributions, name)(options.model, **given)
    return method if kind is None else attributions.NoiseTunnel(method, kind=kind, **tunnel)


def _neuron(given: str) -> int | tuple[int, ...]:
    """A channel or unit, or the index of a unit."""
    parts = given.split(",")
    if not all(is_integer(part.strip()) for part in parts):
        raise ParameterError(f"--neuron {given}: expected an integer, or integers with commas between.")
    numbers = tuple(int(part) for part in parts)
    return numbers if len(numbers) > 1 else numbers[0]


def _baseline(given: str, model: str) -> Any:
    """A number, a name, or what a file holds."""
    try:
        return float(given)
    except ValueError:
        return _rows(given, model) if kind_of(given) in ("table", "array", "arrays") else given


def _rows(path: str, model: str) -> Any:
    """What a file holds; columns of text as text, where the model takes some."""
    numbers = None
    if kind_of(path) == "table":
        inputs = {value.name: value.type.tensor_type.elem_type for value in read_proto(model).graph.input}
        columns = {name for name, kind in inputs.items() if kind != onnx.TensorProto.STRING}
        numbers = columns if len(columns) < len(inputs) else None
    return read_arrays(path, numbers)


def is_integer(text: str) -> bool:
    """Whether a text is an integer."""
    return re.fullmatch(r"-?[0-9]{1,18}", text) is not None
