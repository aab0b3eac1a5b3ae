"""The forms of the model by name: each is a function of a number of threads that returns the model."""

from collections.abc import Callable
from functools import partial

from encoder import Encoder, load
from linear import FloatLinear, Int8Linear, nearest
from rounding import calibrated

FORMS: dict[str, Callable[[int], Encoder]] = {
    "f32": partial(load, FloatLinear),
    "int8": partial(load, Int8Linear),
    "int4": calibrated,
    "int4-nearest": partial(load, nearest),
}
