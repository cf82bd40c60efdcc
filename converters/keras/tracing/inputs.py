"""What a Keras model takes and how it is called: names, shapes and the nesting of its inputs."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onnxattr.errors import ConversionError

from ...common import dependencies
from ..reading.saved_models import SavedSignature


@dataclass(frozen=True)
class ModelInputs:
    """The flat inputs of a model.

    Attributes:
        specs: One `tf.TensorSpec` per input in the order of the ONNX inputs, whose names they have. The batch
            axis is None unless a SavedModel fixes it.
        call: Runs the model in inference mode on the flat tensors and returns what the model returns.
        layer_names: Name of the Keras InputLayer of each input, as far as there are any.
        fixed_batch: The batch size if the model declares one.
        declared: For each input the size of its first axis that the model or its user declares, None for any.
    """

    specs: list[Any]
    call: Callable[[list[Any]], Any]
    layer_names: tuple[str, ...] = ()
    fixed_batch: int | None = None
    declared: tuple[int | None, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of the inputs."""
        return [spec.name for spec in self.specs]

    @property
    def is_no_batch(self) -> bool:
        """Whether first axes have different sizes, beside 1, which is broadcast: nodes and edges, for example."""
        return len({spec.shape[0] for spec in self.specs if spec.shape.rank} - {1, None}) > 1

    def in_order(self, sample: Any) -> Any:
        """A sample in the order of the inputs where it is a dict with all their names, whose keys may be in another."""
        if isinstance(sample, dict) and set(self.names) <= set(sample):
            return [sample[name] for name in self.names]
        return sample

    def of_one_size(self, sample: Any) -> "ModelInputs | None":
        """These inputs in batches of the declared size, or else of the sample's; None if there is neither."""
        tf, sizes = dependencies.tensorflow(), self.declared
        if self.fixed_batch is None:
            sizes = tuple(len(leaf) if np.ndim(leaf) else None for _, leaf in flatten(sample))
        if not any(sizes) or len(sizes) != len(self.specs):
            return None
        specs = [
            tf.TensorSpec((size, *spec.shape[1:]), spec.dtype, spec.name) if spec.shape.rank else spec
            for size, spec in zip(sizes, self.specs, strict=True)
        ]
        return replace(self, specs=specs, fixed_batch=next(size for size in sizes if size))


def model_inputs(
    model: Any, input_signature: Any = None, sample: Any = None, names: Sequence[str] = ()
) -> ModelInputs:
    """Find the inputs of a Keras 3 or tf_keras model.

    Args:
        model: The model.
        input_signature: For models without symbolic inputs (subclassed): a `tf.TensorSpec`, or a list or dict of
            them, nested as the model's `call` takes it.
        sample: Arrays nested in the same way; their shapes and dtypes serve when there is no signature.
        names: Names for symbolic inputs, in their order, instead of their own.

    Raises:
        ConversionError: The model has no symbolic inputs and neither signature nor sample was given.
    """
    if isinstance(model, SavedSignature):
        return _signature_inputs(model)
    if input_signature is None and getattr(model, "inputs", None):
        return _symbolic_inputs(model, names)
    if input_signature is None and sample is None:
        raise ConversionError(
            f"The model {model.name!r} ({type(model).__name__}) does not say what its inputs are, as subclassed models "
            "do not. Pass to_onnx(..., input_signature=tf.TensorSpec((None, 8), 'float32', name='x')) or "
            "sample=<one batch as an array>; lists and dicts of them for several inputs."
        )
    return _given_inputs(model, input_signature if input_signature is not None else sample)


def flatten(structure: Any) -> list[tuple[str | None, Any]]:
    """Leaves of nested dicts, lists and tuples with the dict key or None of each; dicts in key order, as in Keras."""
    if isinstance(structure, dict):
        return [(inner or key, leaf) for key in sorted(structure) for inner, leaf in flatten(structure[key])]
    if isinstance(structure, (list, tuple)):
        return [pair for item in structure for pair in flatten(item)]
    return [] if structure is None else [(None, structure)]


def flat_sample(inputs: ModelInputs, sample: Any) -> list[np.ndarray]:
    """A sample as one array for each input.

    Raises:
        ConversionError: It holds another number of arrays, or one of another shape.
    """
    leaves = [leaf for _, leaf in flatten(sample)]
    if len(leaves) != len(inputs.specs):
        raise ConversionError(
            f"sample holds {len(leaves)} arrays, the model has the {len(inputs.specs)} inputs {inputs.names}."
        )
    arrays = []
    for leaf, spec in zip(leaves, inputs.specs, strict=True):
        array = np.asarray(leaf).astype(spec.dtype.as_numpy_dtype)
        if not spec.shape.is_compatible_with(array.shape):
            raise ConversionError(
                f"sample has shape {array.shape} for input {spec.name!r}, which takes {tuple(spec.shape)}."
            )
        arrays.append(array)
    return arrays


def returned(structure: Any) -> list[tuple[str | None, Any]]:
    """What a model returned, as ``flatten`` has it, as tensors.

    A distribution of tensorflow_probability is the tensor that Keras' ``predict`` returns for it, its mean for example.
    """
    tf = dependencies.tensorflow()
    return [
        (key, tf.convert_to_tensor(leaf) if isinstance(leaf, tf.Module) and hasattr(leaf, "_value") else leaf)
        for key, leaf in flatten(structure)
    ]


def _pack(structure: Any, leaves: list[Any]) -> Any:
    """Nest `leaves` (consumed from the front) like `structure`."""
    if isinstance(structure, dict):
        packed = {key: _pack(structure[key], leaves) for key in sorted(structure)}
        return {key: packed[key] for key in structure}
    if isinstance(structure, (list, tuple)):
        return [_pack(item, leaves) for item in structure]
    return None if structure is None else leaves.pop(0)


def symbolic_structure(model: Any) -> Any:
    """The symbolic inputs of a model, nested as it takes them."""
    # The attribute that remembers dicts and nesting: Keras 3, then tf_keras; Sequential models have neither.
    structure = getattr(model, "_inputs_struct", None)
    if structure is None:
        structure = getattr(model, "_nested_inputs", None)
    if structure is None:
        structure = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    return structure


def _symbolic_inputs(model: Any, given: Sequence[str]) -> ModelInputs:
    tf = dependencies.tensorflow()
    structure = symbolic_structure(model)
    pairs = flatten(structure)
    names = _unique(list(given) or [key or tensor.name.split(":")[0] for key, tensor in pairs])
    specs = [
        tf.TensorSpec((None, *tensor.shape[1:]), _dtype_name(tensor), name=name)
        for name, (_, tensor) in zip(names, pairs, strict=True)
    ]
    return ModelInputs(
        specs,
        lambda tensors: model(_pack(structure, list(tensors)), training=False),
        tuple(_layer_name(tensor) for _, tensor in pairs),
        *_declared([tensor for _, tensor in pairs]),
    )


def _declared(tensors: Sequence[Any]) -> tuple[int | None, tuple[int | None, ...]]:
    """The batch size of tensors or specs, None for any, and the size of the first axis of each."""
    sizes = tuple(tensor.shape[0] if len(tensor.shape) else None for tensor in tensors)
    return next((size for size in sizes if size is not None), None), sizes


def _layer_name(tensor: Any) -> str:
    """Name of the InputLayer that a symbolic input came from."""
    history = getattr(tensor, "_keras_history", None)
    layer = getattr(history, "operation", None) or getattr(history, "layer", None)
    return str(tensor.name if layer is None else layer.name)


def _signature_inputs(saved: SavedSignature) -> ModelInputs:
    """Inputs of a SavedModel: the keyword arguments of its signature, whose shapes it insists on."""
    tf = dependencies.tensorflow()
    keywords = saved.function.structured_input_signature[1]
    keys = sorted(keywords)
    specs = [tf.TensorSpec(keywords[key].shape, keywords[key].dtype, name=key) for key in keys]
    fixed = next((spec.shape[0] for spec in specs if spec.shape.rank and spec.shape[0] is not None), None)
    return ModelInputs(
        specs, lambda tensors: saved.function(**dict(zip(keys, tensors, strict=True))), fixed_batch=fixed
    )


def _given_inputs(model: Any, structure: Any) -> ModelInputs:
    tf = dependencies.tensorflow()
    if isinstance(structure, (list, tuple)) and len(structure) == 1:
        structure = structure[0]
    parameters = _positional_parameters(model)
    pairs = flatten(structure)
    positional = isinstance(structure, (list, tuple)) and 1 < len(parameters) == len(structure)
    if not positional and not isinstance(structure, (dict, list, tuple)):
        fallback = parameters[:1] or ["input"]
    elif positional and len(pairs) == len(parameters):
        fallback = parameters
    else:
        fallback = [f"input_{index}" for index in range(len(pairs))]
    leaves = [leaf if isinstance(leaf, tf.TensorSpec) else _spec_of(leaf) for _, leaf in pairs]
    names = _unique(
        [key or leaf.name or name for (key, _), leaf, name in zip(pairs, leaves, fallback, strict=True)]
    )
    specs = [
        tf.TensorSpec((None, *leaf.shape[1:]), leaf.dtype, name=name)
        for leaf, name in zip(leaves, names, strict=True)
    ]

    def call(tensors: list[Any]) -> Any:
        packed = _pack(structure, list(tensors))
        return model(*packed, training=False) if positional else model(packed, training=False)

    signed = [leaf for _, leaf in pairs if isinstance(leaf, tf.TensorSpec) and leaf.shape.rank is not None]
    declared = _declared(signed) if len(signed) == len(pairs) else (None, ())
    return ModelInputs(specs, call, (), *declared)


def _spec_of(leaf: Any) -> Any:
    tf = dependencies.tensorflow()
    if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
        leaf = np.asarray(leaf)
        if leaf.dtype.kind not in "biufc":
            raise ConversionError(
                f"input_signature and sample take tf.TensorSpec objects or arrays of numbers, got {leaf.tolist()!r}."
            )
    return tf.TensorSpec(leaf.shape, leaf.dtype)


def _positional_parameters(model: Any) -> list[str]:
    """Names of the parameters of `model.call` that have no default value."""
    try:
        parameters = inspect.signature(model.call).parameters.values()
    except (TypeError, ValueError):
        return []
    return [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.name not in ("training", "mask")
    ]


def _dtype_name(tensor: Any) -> str:
    dtype = tensor.dtype
    return dtype if isinstance(dtype, str) else dtype.name


def _unique(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return result
