"""Why torch.onnx.export could not convert a module, in words."""

import os
import re
import traceback
from collections.abc import Iterator
from importlib import import_module
from typing import Any

_CALL = re.compile(
    r'The following call raised this error:.*?File "([^"]+)", line (\d+), in [^\n]*\n\s*([^\n]+)', re.S
)

_LINE = re.compile(r'File "([^"<]+)", line (\d+), in forward\n\s*([^\n]+)')

_PACKED = (
    "it packs sequences (pack_padded_sequence), whose sizes follow from the numbers of the lengths, and torch.export "
    "has no sizes for that. Give the recurrent layer the padded sequences and take its outputs at lengths - 1, which "
    "are the same numbers where it runs forwards alone. Or let the older exporter write a file to explain, "
    "torch.onnx.export(module, inputs, path, dynamo=False): with enforce_sorted=True, which in the file allows any "
    "order, as it otherwise sorts the batch and mixes samples; and with padding_value=0, as it ignores another."
)
_LEAVE_OUT = "Write it with other operators, or leave it out: convert the module up to it, and explain that."
#: A class that torch.export does not take apart.
_KIND = re.compile(r"Found <class '([^']+)'> in output")
_UNKNOWN = (
    "its output has a {kind}, in which torch.export does not see the tensors. Wrap the module in one whose forward "
    "returns them in a tuple or a dict. If {kind} is a dataclass, calling torch.export.register_dataclass({kind}) once "
    "before is enough; a model of Hugging Face leaves out its cache with module.config.use_cache = False."
)
#: Operators of which torch.export cannot tell the shapes.
_OPERATOR = re.compile(r"(aten\.\w+)\.\w+(?:\s+The error above .*)?$", re.S)
#: What is raised of torch.func.grad, jacrev and torch.autograd.grad, in whichever place they meet the exporter.
_DERIVATIVE = (
    "'Tensor' object has no attribute 'constant'",
    "Cannot access storage of TensorWrapper",
    "does not require grad and does not have a grad_fn",
)
_TRANSFORMED = (
    "it seems to compute a derivative inside forward (torch.func, torch.autograd.grad), which torch.export does not "
    "take. Write the derivative as a formula, or convert the module that is differentiated and explain its output."
)
_FAKE = (
    "torch.ao.quantization's fake quantisation asks its flags in Python{place}, which torch.export does not take. The "
    "older exporter writes it as QuantizeLinear and DequantizeLinear, into a file to explain: "
    "torch.onnx.export(module, inputs, path, dynamo=False)."
)

_NUMPY = (
    "it takes numbers out of PyTorch by .numpy(){place}, and gives them to another package, which torch.export does "
    "not follow. Compute this in PyTorch; what does not depend on the inputs can be computed in __init__."
)
_GROUPS = (
    "the number of groups of a convolution depends on the batch{place}, and ONNX has a fixed one. Convert with "
    "dynamic_batch=False, or write the convolution of each sample with its own weights as a product, "
    "torch.einsum, with the patches of torch.nn.functional.unfold."
)


def why_not(error: BaseException, name: str, dynamic_batch: bool) -> str:
    """What to say to whoever wanted to convert a module.

    Args:
        error: What the exporter raised.
        name: The class of the module.
        dynamic_batch: Whether a batch of any size was asked for.
    """
    reason, start = _reason(error), f"torch.onnx.export could not convert {name}: "
    if _packs(reason):
        return f"{start}{_PACKED}"
    if "data-dependent expression" in str(reason) or type(reason).__name__ == "DataDependentOutputException":
        return start + _decided(reason)  # the older exporter writes the way of the examples for all inputs
    if "numpy() is not supported for tensor subclasses" in str(reason):
        return start + _NUMPY.format(place=_place(reason))
    if convolution := _with_counted_groups(error):
        return start + _GROUPS.format(place=_line_of(convolution))
    if kind := _KIND.search(str(reason)):
        return start + _UNKNOWN.format(kind=kind[1].rpartition(".")[2])
    if node := _unwritten(error):
        return f"{start}{_without_form(node)}"
    if operator := _OPERATOR.match(str(reason)):
        return f"{start}torch.export has no form of {operator[1]}{_place(reason)}. {_LEAVE_OUT}"
    if any(words in str(reason) for words in _DERIVATIVE):
        return start + _TRANSFORMED
    advice = (
        " If a batch of any size is what fails, convert with dynamic_batch=False; if it is an operator, the older"
        if dynamic_batch
        else " The older"
    )
    return (
        f"{start}{_in_words(reason)}.{advice} exporter may have it: "
        "torch.onnx.export(module, inputs, path, dynamo=False) writes a file to explain."
    )


def _reason(error: BaseException) -> BaseException:
    """What the exporter raised of its own, or what a translation can't write."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    return root if isinstance(root, NotImplementedError) else error.__cause__ or error


def _in_words(error: BaseException) -> str:
    """What an error says; of one without words, such as a bare assertion, its kind and the line it comes from."""
    words = " ".join(str(error).split())[:600]
    frames = traceback.extract_tb(error.__traceback__)
    if words or not frames:
        return words or type(error).__name__
    return f"{type(error).__name__} in {os.path.basename(frames[-1].filename)}, line {frames[-1].lineno}"


def _unwritten(error: BaseException) -> Any:
    """The node of an operator of PyTorch that the exporter has no form for; None if something else is the matter."""
    inner: BaseException | None = error
    while inner is not None and type(inner).__name__ != "DispatchError":
        inner = inner.__cause__
    if inner is None:
        return None
    nodes = [frame.f_locals.get("node") for frame, _ in _frames(error)]
    return next((node for node in reversed(nodes) if hasattr(node, "meta")), None)


def _frames(error: BaseException | None) -> Iterator[tuple[Any, int]]:
    """Those of an error and of its causes."""
    while error is not None:
        yield from traceback.walk_tb(error.__traceback__)
        error = error.__cause__


def _without_form(node: Any) -> str:
    """Of an operator without a form, its name, the line that calls it and the ways out that there are."""
    target = str(node.target)
    operator = target.rpartition(".")[0] or target
    place = _line_of(node)
    numbers = " of complex numbers" if any(map(_is_complex, node.all_input_nodes)) else ""
    says = f"neither it nor onnxattr has an ONNX form of {operator}{numbers}{place}. "
    called = str(node.meta.get("torch_fn", ("", ""))[1]).rpartition(".")[2]
    if not numbers and (_older_has(operator) or _older_has(f"aten.{called}")):
        return (
            f"{says}The older exporter has one: torch.onnx.export(module, inputs, path, dynamo=False) writes a file to "
            "explain."
        )
    return says + _LEAVE_OUT


def _line_of(node: Any) -> str:
    """The line of a forward() that calls an operator."""
    lines = list(_LINE.finditer(node.meta.get("stack_trace") or ""))
    return f" ({os.path.basename(lines[-1][1])}, line {lines[-1][2]}: `{lines[-1][3]}`)" if lines else ""


def _with_counted_groups(error: BaseException) -> Any:
    """The node of a convolution whose groups are a value of the graph; None if something else is the matter."""
    for frame, _ in _frames(error):
        node = frame.f_locals.get("node")
        if str(getattr(node, "target", "")).startswith("aten.conv") and hasattr(node.args[-1], "meta"):
            return node if len(node.args) > 5 else None
    return None


def _is_complex(node: Any) -> bool:
    dtype = getattr(node.meta.get("val"), "dtype", None)
    return bool(getattr(dtype, "is_complex", False))


def _older_has(operator: str) -> bool:
    """Whether the exporter of torch.jit has a form of an operator."""
    try:
        import_module("torch.onnx._internal.torchscript_exporter.symbolic_opset18")
        registration = import_module("torch.onnx._internal.torchscript_exporter.registration")
    except ImportError:
        return False
    return bool(registration.registry.is_registered_op(operator.replace(".", "::"), 18))


def _decided(error: BaseException) -> str:
    """Of a module that decides in Python by the numbers of a tensor, the line and the way out."""
    place = _place(error)
    if _inside(error, "torch", "distributions"):
        return (
            f"torch.distributions checks the numbers of a tensor in Python{place}, which a graph cannot. "
            "Make the distribution with validate_args=False."
        )
    if _inside(error, "torch", "ao", "quantization"):
        return _FAKE.format(place=place)
    return (
        f"it decides in Python by the numbers of a tensor{place}, and a graph goes one way for all inputs. "
        "Choose between values with torch.where, and make a size, an index or a number of rounds one that is fixed or "
        "comes from the shapes of the inputs."
    )


def _place(error: BaseException) -> str:
    """Where a module decides: the line that the exporter names, or the last line of a forward() if it names none."""
    call = _CALL.search(str(error))
    if call and not call[1].startswith("<"):
        return f" at {os.path.basename(call[1])}, line {call[2]} (`{call[3].strip()}`)"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.name == "forward"]
    if not frames:
        return ""
    return f" at {os.path.basename(frames[-1].filename)}, line {frames[-1].lineno} (`{frames[-1].line}`)"


def _inside(error: BaseException, *folders: str) -> bool:
    """Whether an error comes out of code in a folder."""
    part = os.path.join(*folders) + os.sep
    return any(part in frame.filename for frame in traceback.extract_tb(error.__traceback__))


def _packs(error: BaseException) -> bool:
    """Whether an error comes from packed sequences: an operator that packs, or a call that holds such a sequence."""
    if "_pack_padded_sequence" in str(error):
        return True
    calls = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(
        type(value).__name__ == "PackedSequence" for frame in calls for value in frame.f_locals.values()
    )
