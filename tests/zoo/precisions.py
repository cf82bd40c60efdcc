"""Models in half, double and mixed precision; float16 rounds at 5e-4 of a value."""

import keras

from zoo.cases import add, case

L = keras.layers


def _dense_of(dtype: str) -> keras.Model:
    x = keras.Input((8,), dtype=dtype)
    return keras.Model(x, L.Dense(2, dtype=dtype)(L.Dense(8, activation="relu", dtype=dtype)(x)))


add("float16", lambda: _dense_of("float16"), tolerance=2e-3)
add("float64", lambda: _dense_of("float64"), tolerance=1e-12)


@case("mixed precision", tolerance=2e-3)
def _():
    x = keras.Input((8,))
    hidden = L.Dense(8, activation="relu", dtype="mixed_float16")(x)
    return keras.Model(x, L.Dense(2, dtype="float32")(hidden))
