"""Shape inference that sees through Loops.

A Loop's state may change its shape from step to step, so that ONNX's inference says nothing of a state's shape, in the
body and behind the Loop. Most keep it: here every state is taken to have the shape it starts with, and what the body
then gives confirms that, or weakens it until it holds.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import onnx

from onnxattr.graph.subgraphs import bodies_of, nodes_in
from onnxattr.loading.shapes.missing_ranks import infer_all

_ANY = onnx.TensorShapeProto.Dimension()
#: Inference goes over the model once a round: as often as this many visits of nodes allow.
_MOST_VISITS, _LEAST_ROUNDS = 5_000_000, 16
#: What the states of Loops are taken to be, None where nothing holds; by number of the Loop and of the state.
Guesses = dict[tuple[int, int], onnx.TypeProto.Tensor | None]


class State(NamedTuple):
    """A state of a Loop: where it starts, the body's input and output, and the name of its last value.

    One that no step reads may start as anything, often as a number that stands for nothing yet: its start says nothing.
    """

    key: tuple[int, int]
    initial: onnx.TypeProto.Tensor | None
    before: onnx.ValueInfoProto
    after: onnx.ValueInfoProto
    final: str
    graph: onnx.GraphProto
    read: bool

    @property
    def ends(self) -> tuple[onnx.TypeProto.Tensor | None, ...]:
        """Its types before and after a step, as far as they have to agree."""
        after = _known(self.after.type)
        return (self.initial, after) if self.read else (after,)


def infer_through_loops(proto: onnx.ModelProto, strict: bool = True) -> onnx.ModelProto:
    """Infers all types and shapes of a model, those of Loop states included.

    Args:
        proto: The model; what it declares is believed.
        strict: Whether what contradicts itself is an error; else it stays untyped.

    Raises:
        onnx.shape_inference.InferenceError: If the model contradicts itself.
    """
    guesses: Guesses = {}
    if any(_states(proto)):
        rounds = max(_LEAST_ROUNDS, _MOST_VISITS // sum(1 for _ in nodes_in(proto.graph)))
        found = -1
        while len(guesses) > found and (rounds := rounds - 1) >= 0:
            found = len(guesses)
            starts: Guesses = {
                s.key: s.ends[0] for s in _states(_inferred(proto, guesses)) if s.ends[0] is not None
            }
            guesses = starts | guesses
        while (weaker := _weakened(_inferred(proto, guesses), guesses)) != guesses:
            # What takes this long to settle is left unknown.
            guesses = weaker if (rounds := rounds - 1) >= 0 else dict.fromkeys(weaker)
    return _inferred(proto, guesses, strict)


def _inferred(proto: onnx.ModelProto, guesses: Guesses, strict: bool = False) -> onnx.ModelProto:
    """The model with the guesses written on the states of its Loops, inferred."""
    if any(guesses.values()):
        guessed = onnx.ModelProto()
        guessed.CopyFrom(proto)
        named: dict[int, tuple[onnx.GraphProto, set[str]]] = {}
        for state in _states(guessed):
            if (guess := guesses.get(state.key)) is not None:
                _write(state, guess, named)
        proto = guessed
    return infer_all(proto, strict)


def _write(
    state: State, guess: onnx.TypeProto.Tensor, named: dict[int, tuple[onnx.GraphProto, set[str]]]
) -> None:
    """Notes a guess on a state, at its start and its end.

    Args:
        state: The state that the guess is of.
        guess: Its type.
        named: By graph, the values whose types it declares; kept up to date.
    """
    state.before.type.tensor_type.CopyFrom(guess)
    state.after.type.tensor_type.ClearField("shape")
    graph = state.graph
    if id(graph) not in named:
        named[id(graph)] = graph, {value.name for value in (*graph.output, *graph.value_info)}
    _, names = named[id(graph)]
    if state.final and state.final not in names:
        graph.value_info.add(name=state.final).type.tensor_type.CopyFrom(guess)
        names.add(state.final)


def _weakened(inferred: onnx.ModelProto, guesses: Guesses) -> Guesses:
    """The guesses as far as the start and the end of a step agree with them."""
    weaker = dict(guesses)
    for state in _states(inferred):
        for other in state.ends:
            weaker[state.key] = _common(weaker.get(state.key), other)
    return weaker


def _common(a: onnx.TypeProto.Tensor | None, b: onnx.TypeProto.Tensor | None) -> onnx.TypeProto.Tensor | None:
    """The dimensions in which two shapes agree; None if their ranks differ or are unknown."""
    if a is None or b is None or len(a.shape.dim) != len(b.shape.dim):
        return None
    pairs = zip(a.shape.dim, b.shape.dim, strict=True)
    return onnx.TypeProto.Tensor(
        elem_type=a.elem_type, shape=onnx.TensorShapeProto(dim=[p if p == q else _ANY for p, q in pairs])
    )


def _known(type_proto: onnx.TypeProto) -> onnx.TypeProto.Tensor | None:
    """The type of a tensor, if its rank is known."""
    return type_proto.tensor_type if type_proto.tensor_type.HasField("shape") else None


def _states(proto: onnx.ModelProto) -> Iterator[State]:
    """The states of every Loop, those of outer Loops first."""
    for number, (graph, node, scope) in enumerate(_loops(proto.graph, {})):
        (body,) = bodies_of(node)
        inputs = list(node.input[2:])
        triples = zip(inputs, body.input[2:], body.output[1:], node.output, strict=False)
        read = {name for inner in nodes_in(body) for name in inner.input} | {
            value.name for value in body.output
        }
        for k, (start, before, after, final) in enumerate(triples):
            if not before.type.HasField("sequence_type") and not before.type.HasField("optional_type"):
                yield State((number, k), scope.get(start), before, after, final, graph, before.name in read)


def _loops(
    graph: onnx.GraphProto, outer: Mapping[str, onnx.TypeProto.Tensor | None]
) -> Iterator[tuple[onnx.GraphProto, onnx.NodeProto, Mapping[str, onnx.TypeProto.Tensor | None]]]:
    """Every Loop with the graph that holds it and the types known there."""
    own: dict[str, onnx.TypeProto.Tensor | None] = {}
    for tensor in graph.initializer:
        own[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims).tensor_type
    own |= {value.name: _known(value.type) for value in (*graph.input, *graph.output, *graph.value_info)}
    scope = ChainMap(own, outer)  # type: ignore[arg-type]
    for node in graph.node:
        if node.op_type == "Loop" and node.domain in ("", "ai.onnx"):
            yield graph, node, scope
        for body in bodies_of(node):
            yield from _loops(body, scope)
