"""Several inputs and outputs, nesting, shared layers, a subclassed model."""

import keras
import numpy as np

from zoo.cases import case

L = keras.layers


@case("two inputs")
def _():
    table, image = keras.Input((8,), name="table"), keras.Input((12, 12, 1), name="image")
    seen = L.Flatten()(L.Conv2D(4, 3, activation="relu")(image))
    joined = L.Concatenate()([L.Dense(8, activation="relu")(table), seen])
    return keras.Model([table, image], L.Dense(3)(joined))


@case("dict inputs")
def _():
    first, second = keras.Input((8,), name="zebra"), keras.Input((4,), name="ant")
    return keras.Model({"zebra": first, "ant": second}, L.Dense(3)(L.Concatenate()([first, second])))


@case("list outputs")
def _():
    x = keras.Input((8,), name="x")
    hidden = L.Dense(8, activation="relu")(x)
    return keras.Model(
        x, [L.Dense(3, activation="softmax", name="kind")(hidden), L.Dense(1, name="size")(hidden)]
    )


@case("dict outputs")
def _():
    x = keras.Input((8,), name="x")
    hidden = L.Dense(8, activation="relu")(x)
    return keras.Model(x, {"kind": L.Dense(3, activation="softmax")(hidden), "area": L.Dense(1)(hidden)})


class Residual(keras.Model):
    """A subclassed model."""

    def __init__(self):
        super().__init__()
        self.first = L.Dense(16, activation="relu", name="first")
        self.blocks = [L.Dense(16, activation="relu", name=f"block{i}") for i in range(2)]
        self.last = L.Dense(3, name="last")

    def call(self, x, training=False):
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)


@case("subclassed", signature=((8,),))
def _():
    model = Residual()
    model(np.zeros((1, 8), "float32"))
    return model


@case("nested")
def _():
    backbone = keras.Sequential(
        [L.Input((12, 12, 1)), L.Conv2D(4, 3, activation="relu", name="inner_conv"), L.Flatten()],
        name="backbone",
    )
    image = keras.Input((12, 12, 1))
    return keras.Model(image, L.Dense(3, name="head")(backbone(image)), name="outer")


@case("shared layer")
def _():
    x = keras.Input((8,))
    shared = L.Dense(8, activation="relu", name="shared")
    return keras.Model(x, L.Dense(2)(shared(shared(x))))
