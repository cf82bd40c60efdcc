"""Kinds of operators that are told apart in several places."""

#: Operators whose results are other ones in each run.
DRAWING = frozenset(
    "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike".split()
)
#: Operators that read no more than the shape of a value.
SIZES = frozenset(("Shape", "Size"))
#: Operators whose results have sizes that depend on numbers, not on sizes alone.
COUNTING = frozenset(("NonMaxSuppression", "NonZero", "Compress", "Unique"))
