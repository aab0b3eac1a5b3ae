"""Checks and their cases (`Check`, `Case`), and random operands for them."""

from dataclasses import dataclass, field
from typing import Callable

import numpy as np

from qgemm import Call

CHECKS = []


@dataclass
class Case:
    """A call of qgemm, and the outputs that the other software computed for it."""

    call: Call
    expected: dict
    # Masks of the elements that are compared, by output; an output without a mask is compared in full.
    compared: dict = field(default_factory=dict)
    # Calls with a similar but wrong setting, or outputs by a similar but wrong rule. They must differ in some case,
    # which shows that the check distinguishes them.
    controls: dict = field(default_factory=dict)


@dataclass
class Check:
    """A function that draws cases of one operator, and the row of README.md's table that it fills."""

    framework: str
    name: str
    setting: str
    case: Callable
    # Multiplies the number of cases.
    weight: float

    @property
    def id(self):
        return f"{self.framework}/{self.name}"


def check(framework, name, setting, weight=1.0):
    """Registers a function that draws a Case from a random generator."""

    def register(case):
        CHECKS.append(Check(framework, name, setting, case, weight))
        return case

    return register


EDGES = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 128, 129, 255, 256, 257]


def shape(rng):
    """M, N and K: mostly 1 to 300, sometimes with one dimension up to 5,000, rarely all up to 700."""
    kind = rng.random()
    if kind < 0.55:
        return tuple(int(d) for d in rng.integers(1, 301, 3))
    if kind < 0.75:
        return tuple(int(np.exp(d)) for d in rng.uniform(0, np.log(301), 3))
    if kind < 0.93:
        return tuple(int(d) for d in rng.choice(EDGES, 3))
    if kind < 0.99:
        dims = [int(d) for d in rng.integers(1, 65, 3)]
        dims[rng.integers(3)] = int(rng.integers(1000, 5000))
        return tuple(dims)
    return tuple(int(d) for d in rng.integers(300, 700, 3))


def matrix(rng, dtype, rows, cols, limit=None):
    """Values of an 8-bit type: uniform, least and greatest, near the middle, or constant; within ±`limit`."""
    lo, hi = bounds(dtype, limit)
    kind = rng.random()
    if kind < 0.6:
        values = rng.integers(lo, hi + 1, (rows, cols))
    elif kind < 0.8:
        values = rng.choice([lo, hi], (rows, cols))
    elif kind < 0.95:
        values = np.clip(np.rint(rng.normal((lo + hi) / 2, 12, (rows, cols))), lo, hi)
    else:
        values = np.full((rows, cols), rng.choice([lo, hi]))
    return values.astype(dtype)


def bounds(dtype, limit=None):
    """The least and the greatest value of an 8-bit type, within ±`limit`."""
    info = np.iinfo(dtype)
    return (info.min, info.max) if limit is None else (max(info.min, -limit), min(info.max, limit))


def zeros(rng, dtype, count=None):
    """A zero point within an 8-bit type, or `count` of them."""
    lo, hi = bounds(dtype)
    drawn = rng.integers(lo, hi + 1, count)
    ends = rng.random(count) < 0.15
    return np.where(ends, rng.choice([lo, hi], count), drawn).astype(dtype)


def product(a, a_zero, b, b_zero, bias=0):
    """The exact sums in f64, below 2^53. Zero points of A are one or one per row, of B one or one per column."""
    a = a.astype(np.float64) - np.reshape(np.asarray(a_zero, np.float64), (-1, 1))
    b = b.astype(np.float64) - np.reshape(np.asarray(b_zero, np.float64), (1, -1))
    return a @ b + bias


def scales(rng, sums, count):
    """Scales of A, B (`count` of them, or one) and Y that bring `sums` to about the 8-bit range.

    In a third of the cases all are powers of two, so that many scaled sums are ties. In another third the scales
    of A and Y have small odd factors besides, so that ties depend on the order in which scales are multiplied.
    """
    spread = np.sqrt(np.mean(np.square(sums))) + 1
    ratio = 50 / spread * 2.0 ** rng.uniform(-3, 2)
    kind = rng.integers(3)
    a, y = np.exp2(rng.uniform(-9, 1, 2))
    jitter = np.exp2(rng.uniform(-1, 1, count if count else 1))
    if kind > 0:
        a, y = np.exp2(np.rint(np.log2([a, y])))
        jitter = np.exp2(np.rint(np.log2(jitter)))
        ratio = np.exp2(np.rint(np.log2(ratio)))
    if kind == 2:
        odd = [3, 5, 7, 11, 13, 41, 47, 49, 55, 61]
        y *= rng.choice(odd) / 8
        a *= rng.choice([1, *odd]) / 8
    b = (jitter * ratio * y / a).astype(np.float32)
    return np.float32(a), b if count else b[0], np.float32(y)


def as_call(op, a, b, a_zero=None, b_zero=None, tensors=(), **parameters):
    """A call of a product. Zero points are passed as i32, or left out if they are None."""
    given = {"a": a, "b": b, **dict(tensors)}
    for name, zero in (("a_zero", a_zero), ("b_zero", b_zero)):
        if zero is not None:
            given[name] = np.atleast_1d(zero).astype(np.int32)
    return Call(op, given, parameters)


def dtype_name(dtype):
    return "u8" if np.dtype(dtype) == np.uint8 else "i8"
