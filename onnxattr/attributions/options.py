"""The parameters that every method takes by keyword."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from onnxattr.autodiff.rewrites import chosen
from onnxattr.compile.noise import SEEDS
from onnxattr.compile.relus import POLICIES
from onnxattr.errors import ParameterError
from onnxattr.loading.prepared import Outputs, Wrt
from onnxattr.loading.preprocessing.spec import PLACES as PIXELS_OR_INPUT
from onnxattr.loading.verify import check_choice
from onnxattr.providers import check_providers
from onnxattr.running.finite import check_mode


class Unasked(str):
    """A parameter's default, told apart from the same text passed by a caller."""

    __slots__ = ()


#: Reducers of methods by default: they act on images alone.
MEAN, MAX = Unasked("mean"), Unasked("max")


@dataclass(kw_only=True, eq=False, repr=False)
class Options:
    """The parameters that every method takes by keyword.

    Args:
        wrt: What to explain, in the words that ``output_layer`` takes: a layer's name, path or index, the name of a
            value or node, or several of them; see docs/layers.md. The name of an input is always that input. None for
            every float input.
        output: Which of the model's outputs is explained, where there are several: its name or index. An operator that
            is a function or an ONNX model gets all of them, or those of a list of these, by name.
        providers: ONNX Runtime execution providers; None for CUDA where there is a GPU, else CPU.
        seed: Seed of the noise, an integer from 0 to 2^31 - 2: the same seed gives the same attribution at any batch
            size and in any runtime.
        relu_policy: Which nodes DeconvNet and GuidedBackprop override: "all" ReLU-like ones, or exactly the layers that
            "xplique" overrides (needs a model converted from Keras).
        channel_axis: The channel axis of images; None to find out from the graph.
        neuron: The score is a unit of the output layer, or the mean of a channel: its number, an integer, or the index
            of one unit in a sample's output, a tuple; see docs/layers.md.
        feature_mask: The group of each feature, an array of integers: attributions are summed over each group; one
            for all samples, or with a row for each; see docs/layers.md.
        progress: True or False to show a progress bar or not; None to show it on a terminal.
        precision: "model": a float16 or bfloat16 model is explained in its own precision; "float32": its weights and
            inputs are taken to float32 first, exported files included.
        check_finite: What happens where attributions or predictions are NaN or infinite: "warn": one
            ``NonFiniteWarning`` a call names the samples, the node that gave the first and what to try; "error": the
            same as a ``NonFiniteError``; "ignore": nothing.
        verify: Whether the prediction of the model, brought to the form that is explained, is compared with its own in
            ONNX Runtime: "auto" for small models that were changed, True for all, False for none.
        sample: One batch as the model takes it, with which a PyTorch module or a scikit-learn estimator is converted.
        rewrites: Names of the passes that may make the gradient cheaper; None for all. For measurements: they leave
            attributions as they are up to rounding.
        preprocess: What is put in front of the model's image input, which then takes pixels of 0 to 255, RGB, of any
            size: "imagenet", "keras-tf", "keras-caffe", "keras-torch", "0..1", "-1..1" or "0..255"; a JSON file or a
            dict; torchvision's ``weights.transforms()``; "model" for what the model's file says that it expects; see
            docs/preprocessing.md. None for nothing.
        attributions_at: With preprocessing in front, "pixels": the pixels given are explained, and baselines and noise
            are in units of 0 to 255; "input": the model's own input, and its units. None for pixels, or what the
            model's file says.
        labels: The names of the classes: a list, or a ``.txt`` or ``.json`` file. None for those of the model's file.
        share: Whether what is the same at all points of a sample is computed once for it: on a straight path all that
            the model does before its first nonlinearity, forth and back. "auto" where it is estimated to be faster,
            True wherever the graph allows it, False nowhere; the numbers are the same up to rounding.
        units: The unit of the model's only input of floats, "mV", or a dict of units by input and output.
        sampling_rate: How many steps of a series, or samples of audio, there are for each second; a number, or a dict
            by input.
        vocabulary: The words of token ids: a list, a Keras ``TextVectorization`` or ``StringLookup`` layer, a Hugging
            Face tokenizer, or a ``.txt`` or ``.json`` file; or a dict of these by input.
        output_kind: What the output gives: "logits", "probabilities", "log-probabilities", "value", "distance" or
            "embedding"; a dict by output where there are several.
    """

    wrt: Wrt = None
    output: Outputs = None
    providers: Sequence[Any] | None = None
    seed: int = 0
    relu_policy: str = "all"
    channel_axis: int | None = None
    neuron: int | tuple[int, ...] | None = None
    feature_mask: Any = None
    progress: bool | None = None
    precision: str = "model"
    check_finite: str = "warn"
    verify: bool | str = "auto"
    sample: Any = None
    rewrites: Collection[str] | None = None
    preprocess: Any = None
    attributions_at: str | None = None
    labels: Any = None
    share: bool | str = "auto"
    units: Any = None
    sampling_rate: Any = None
    vocabulary: Any = None
    output_kind: Any = None


#: The names of those parameters.
OPTIONS = tuple(field.name for field in fields(Options))


def check_options(options: Options) -> None:
    """Checks what can be checked without a model.

    Raises:
        ParameterError: If a parameter is outside its domain.
    """
    check_mode(options.check_finite)
    check_choice(options.verify)
    if not isinstance(options.share, bool) and options.share != "auto":
        raise ParameterError(f"share={options.share!r}: expected 'auto', True or False.")
    if options.relu_policy not in POLICIES:
        raise ParameterError(f"relu_policy={options.relu_policy!r}: expected one of {POLICIES}.")
    if not is_integer(options.seed, at_least=0) or options.seed >= SEEDS:
        raise ParameterError(f"seed={options.seed!r}: expected an integer from 0 to {SEEDS - 1}.")
    if options.channel_axis is not None and options.channel_axis not in (-3, -2, -1, 1, 2, 3):
        raise ParameterError(
            f"channel_axis={options.channel_axis!r}: expected 1, 2 or 3 (or -1 for the last axis)."
        )
    chosen(options.rewrites)
    if options.attributions_at not in (None, *PIXELS_OR_INPUT):
        raise ParameterError(f"attributions_at={options.attributions_at!r}: expected 'pixels' or 'input'.")
    _check_wrt(options.wrt)
    _check_output(options.output)
    _check_neuron(options.neuron)
    if options.providers is not None:
        check_providers(options.providers)


def _check_output(names: Any) -> None:
    if names is None or (is_place(names) and names != ""):
        return
    places = isinstance(names, (list, tuple)) and names and all(map(is_place, names))
    if not places or len(set(names)) < len(names):
        raise ParameterError(
            f"output={names!r}: expected the name or the index of an output of the model, or for an operator that "
            "computes with several a list of these, each once."
        )


def _check_wrt(names: Any) -> None:
    if names is None or callable(names) or is_place(names):
        return
    if not isinstance(names, Sequence) or not names or not all(map(is_place, names)):
        raise ParameterError(
            f"wrt={names!r}: expected the name or index of a layer, the name of a value or node, several of them, "
            "or None."
        )
    if len(set(names)) < len(names):
        raise ParameterError(f"wrt={names!r}: name every value once.")


def _check_neuron(neuron: Any) -> None:
    parts = neuron if isinstance(neuron, (tuple, list)) else (neuron,)
    if neuron is not None and not (parts and all(map(is_integer, parts))):
        raise ParameterError(
            f"neuron={neuron!r}: expected an integer, the channel or unit, or a tuple of integers, the index "
            "of one unit in a sample's output."
        )


def is_place(value: Any) -> bool:
    """Whether a value can say where in a model: a name, or the index of a layer."""
    return isinstance(value, str) or is_integer(value)


def is_integer(value: Any, at_least: int | None = None) -> bool:
    """Whether a value is an integer, and not a boolean, from some number on."""
    integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return integer and (at_least is None or value >= at_least)
