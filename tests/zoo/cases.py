"""What a model of the zoo is, and how one is added to `CASES`."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

L = keras.layers
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


@dataclass(frozen=True)
class Case:
    """One model of the zoo.

    Attributes:
        build: Makes the model.
        draw: Makes the array of one input from a generator and a shape.
        dynamic: Sizes for the dynamic axes after the batch.
        tolerance: Allowed difference to Keras, relative to the largest output.
        slow: Whether it takes many seconds or gigabytes.
        signature: Input shapes of a model that does not know them, without the batch.
    """

    build: Callable[[], keras.Model]
    draw: Draw
    dynamic: tuple[int, ...] = ()
    tolerance: float = 1e-5
    slow: bool = False
    signature: tuple[tuple[int, ...], ...] = ()

    def model(self) -> keras.Model:
        """The model with random weights; the same each time."""
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
        return randomise(self.build())

    def inputs(self, model: keras.Model, batch: int) -> list[np.ndarray]:
        """Random inputs in the order in which Keras flattens them; the same each time."""
        generator = np.random.default_rng(1)
        if self.signature:
            return [self.draw(generator, (batch, *shape)) for shape in self.signature]
        arrays = []
        for tensor in keras.tree.flatten(getattr(model, "_inputs_struct", model.inputs)):
            sizes = iter(self.dynamic)
            shape = (batch, *(next(sizes) if size is None else size for size in tensor.shape[1:]))
            arrays.append(self.draw(generator, shape).astype(tensor.dtype))
        return arrays


def randomise(model: keras.Model) -> keras.Model:
    """Move normalisation statistics, biases and PReLU slopes off their initial values."""
    generator = np.random.default_rng(0)
    draws = {
        "gamma": lambda shape: generator.uniform(0.8, 1.2, shape),
        "beta": lambda shape: generator.normal(0, 0.1, shape),
        "moving_mean": lambda shape: generator.normal(0, 0.1, shape),
        "moving_variance": lambda shape: generator.uniform(0.7, 1.4, shape),
        "bias": lambda shape: generator.normal(0, 0.05, shape),
        "alpha": lambda shape: generator.uniform(0.05, 0.4, shape),
    }
    for weight in model.weights:
        draw = draws.get(weight.path.rsplit("/", 1)[-1])
        if draw is not None:
            weight.assign(draw(tuple(weight.shape)))
    return model


def normal(scale: float = 1.0) -> Draw:
    return lambda generator, shape: generator.normal(0, scale, shape)


def uniform(low: float, high: float) -> Draw:
    return lambda generator, shape: generator.uniform(low, high, shape)


def identifiers(count: int) -> Draw:
    return lambda generator, shape: generator.integers(0, count, shape)


CASES: dict[str, Case] = {}


def add(name: str, build: Callable[[], keras.Model], draw: Draw | None = None, **options) -> None:
    CASES[name] = Case(build, draw or normal(), **options)


def stack(
    name: str, shape: tuple, make: Callable[[], list], draw: Draw | None = None, dtype=None, **options
) -> None:
    """Add a Sequential model of the layers that `make` returns."""
    add(name, lambda: keras.Sequential([L.Input(shape, dtype=dtype), *make()]), draw, **options)


def case(name: str, draw: Draw | None = None, **options):
    """Decorator: add the model that a function builds."""
    return lambda build: add(name, build, draw, **options) or build
