"""Linear layers whose weights are split over processes, with 8-bit products.

Each computes activation(x @ w + bias), for x of M x K, w of K x N and N biases, with the bits of

    q, scale = qgemm.quantize_columns(w)
    qgemm.dynamic_matmul(x, qgemm.PackedB(q), scale, bias, activation=activation)

on one process. What is added across processes are integers, in any order the same; what is rounded is rounded once,
after that, from the same numbers by the same operations.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
import qgemm

from communicator import Communicator

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.int8]
Sums = npt.NDArray[np.int32]
Activation = Literal["relu", "gelu"]

# So many products of int8 values from -127 to 127 add up to less than 2^31.
LONGEST = (2**31 - 1) // 127**2


def share(count: int, rank: int, size: int) -> slice:
    """The part of `count` rows or columns that process `rank` of `size` has. Parts differ by one at most."""
    return slice(count * rank // size, count * (rank + 1) // size)


class ByColumns:
    """Each process has all rows of some columns of w, and computes these columns of the output from the whole x."""

    def __init__(self, group: Communicator, w: Floats, bias: Floats, n: int, activation: Activation | None = None):
        """w and bias are this process's columns, those of `share` of n."""
        self.group, self.bias, self.activation = group, bias, activation
        q, self.scale = qgemm.quantize_columns(w)
        self.b = qgemm.PackedB(q)
        parts = (share(n, rank, group.size) for rank in range(group.size))
        self.widths = [part.stop - part.start for part in parts]

    def part(self, x: Floats) -> Floats:
        """This process's columns of the output, from x of M x K. The scales of rows come from whole rows."""
        return qgemm.dynamic_matmul(x, self.b, self.scale, self.bias, activation=self.activation, threads=1)

    def __call__(self, x: Floats) -> Floats:
        """All of the output, M x N, from x of M x K."""
        return beside(self.group, self.part(x), self.widths)


class ByRows:
    """Each process has some rows of w, and the columns of x that they are multiplied by."""

    def __init__(self, group: Communicator, w: Floats, bias: Floats, k: int, activation: Activation | None = None):
        """w is this process's rows, those of `share` of k; bias has all N values."""
        if k > LONGEST:
            raise ValueError(f"k: was {k}, must be at most {LONGEST}, beyond which int32 sums may wrap")
        self.group, self.bias, self.activation = group, bias, activation
        q, self.scale = quantize_common(group, w.T)
        self.b = qgemm.PackedB(q.T)

    def __call__(self, x: Floats) -> Floats:
        """The output, M x N, from this process's columns of x."""
        q, scale = quantize_common(self.group, x)
        sums = qgemm.matmul(q, self.b, out_dtype="i32", threads=1)
        self.group.sum(sums)
        return finish(sums, scale, self.scale, self.bias, self.activation)


class Mlp:
    """Two layers with an activation between them. The first is split by columns, the second by rows, at the same places: a
    process keeps its part of what is between them, and only the result is added up."""

    def __init__(self, group: Communicator, w1: Floats, bias1: Floats, w2: Floats, bias2: Floats, middle: int):
        """w1, bias1 and w2 are this process's columns and rows, those of `share` of middle; bias2 has all values."""
        self.first = ByColumns(group, w1, bias1, middle, "gelu")
        self.second = ByRows(group, w2, bias2, middle)

    def __call__(self, x: Floats) -> Floats:
        return self.second(self.first.part(x))


def beside(group: Communicator, part: Floats, widths: list[int]) -> Floats:
    """The parts of all processes side by side, M x N, of which process i has widths[i] columns."""
    rows = part.shape[0]
    found = group.gather(part, [rows * width for width in widths])
    return np.concatenate([values.reshape(rows, width) for values, width in zip(found, widths)], axis=1)


def quantize_common(group: Communicator, x: Floats) -> tuple[Bytes, Floats]:
    """Quantizes rows of which each process has some columns, by the scales of the whole rows.

    The greatest magnitude of each row is an additional column, so that `quantize_rows` finds the same scale everywhere.
    """
    greatest = np.abs(x).max(axis=1, initial=0).astype(np.float32, copy=False)
    # The greatest of NaN and a number depends on the back-end.
    greatest[np.isnan(greatest)] = np.inf
    group.max(greatest)
    if not np.isfinite(greatest).all():
        # On all processes, so that none waits for another.
        raise ValueError(f"x: row {np.isfinite(greatest).argmin()} has a value that is not finite, on some process")
    q, scale = qgemm.quantize_rows(np.concatenate([x, greatest[:, None]], axis=1))
    return q[:, :-1], scale


def finish(sums: Sums, rows: Floats, columns: Floats, bias: Floats, activation: Activation | None) -> Floats:
    """activation(float32(sums) * (rows * columns) + bias), M x N, by the library's own output stage: that of a product
    with K = 0, whose only row has M * N columns, with the sums as its integer bias."""
    m, n = sums.shape
    empty = np.empty((1, 0), np.int8), np.empty((0, m * n), np.int8)
    y = qgemm.matmul(
        *empty,
        bias=sums.reshape(-1),
        scale=(rows[:, None] * columns).reshape(-1),
        residual=np.broadcast_to(bias, (m, n)).reshape(1, -1),
        activation=activation,
        out_dtype="f32",
        threads=1,
    )
    return y.reshape(m, n)
