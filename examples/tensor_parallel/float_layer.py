"""The same splits in float32, by NumPy: the sums' last bits depend on how many processes add them."""

import numpy as np

from communicator import Communicator
from layer import Floats, beside, share


class FloatByColumns:
    def __init__(self, group: Communicator, w: Floats, bias: Floats, n: int):
        self.group, self.w, self.bias = group, np.ascontiguousarray(w), bias
        parts = (share(n, rank, group.size) for rank in range(group.size))
        self.widths = [part.stop - part.start for part in parts]

    def part(self, x: Floats) -> Floats:
        return x @ self.w + self.bias

    def __call__(self, x: Floats) -> Floats:
        return beside(self.group, self.part(x), self.widths)


class FloatByRows:
    def __init__(self, group: Communicator, w: Floats, bias: Floats):
        self.group, self.w, self.bias = group, w, bias

    def __call__(self, x: Floats) -> Floats:
        y = x @ self.w
        self.group.sum(y)
        return y + self.bias


class FloatMlp:
    """With ReLU instead of GELU, which NumPy does not have."""

    def __init__(self, group: Communicator, w1: Floats, bias1: Floats, w2: Floats, bias2: Floats, middle: int):
        self.first, self.second = FloatByColumns(group, w1, bias1, middle), FloatByRows(group, w2, bias2)

    def __call__(self, x: Floats) -> Floats:
        return self.second(np.maximum(self.first.part(x), 0))
