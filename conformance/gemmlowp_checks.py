"""gemmlowp's GEMM with its fixed-point output pipelines, compiled from its headers (gemmlowp.cpp).

Checks of `products` multiply random u8 matrices. Checks of `sums` multiply zeros, so that the bias is the sum: ties,
values next to ties, any value, and up to ±2^31.
"""

import ctypes
import functools
import os
from dataclasses import dataclass

import numpy as np

from cases import Case, as_call, check, matrix, product, shape, zeros

NAME = "gemmlowp"
# Columns of a case of `sums`: 300 cases are more than a million values.
COLUMNS = 4096


class Product(ctypes.Structure):
    """The struct of this name in gemmlowp.cpp."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("m", "n", "k")),
        *((name, ctypes.c_void_p) for name in ("a", "b")),
        *((name, ctypes.c_int32) for name in ("a_zero", "b_zero")),
        *((name, ctypes.c_void_p) for name in ("bias", "multiplier", "exponent")),
        *((name, ctypes.c_int32) for name in ("per_column", "y_zero", "lo", "hi")),
    ]


@functools.cache
def library(build):
    """The library that run.sh built from gemmlowp.cpp: `plain` or `sse4`."""
    made = ctypes.CDLL(os.path.join(os.environ["QGEMM_GEMMLOWP"], f"gemmlowp-{build}.so"))
    for name in ("gemm_u8", "gemm_i8", "has_sse4"):
        getattr(made, name).restype = ctypes.c_bool
    return made


def report():
    for build in ("plain", "sse4"):
        if library(build).has_sse4() != (build == "sse4"):
            raise RuntimeError(f"gemmlowp-{build}.so was compiled otherwise")
    print(f"{NAME}: plain and with SSE4.1")


@dataclass
class Operands:
    a: np.ndarray
    b: np.ndarray
    a_zero: int
    b_zero: int
    bias: np.ndarray
    # A factor that brings the sums to about the 8-bit range.
    factor: float


@dataclass
class Output:
    """Multipliers (one, or one per column) with their exponents, and the 8-bit output."""

    multiplier: np.ndarray
    exponent: np.ndarray
    zero: int
    clamp: tuple
    dtype: np.dtype


def gemm(build, operands, output):
    """The product by gemmlowp."""
    a, b, per_column = operands.a, operands.b, len(output.multiplier) > 1
    y = np.zeros((a.shape[0], b.shape[1]), output.dtype)
    # The arrays must stay referenced until the call is made.
    arrays = [np.ascontiguousarray(x) for x in (a, b, operands.bias, output.multiplier, output.exponent)]
    a_at, b_at, *vectors_at = (x.ctypes.data for x in arrays)
    task = Product(
        *(a.shape[0], b.shape[1], a.shape[1], a_at, b_at, operands.a_zero, operands.b_zero),
        *(*vectors_at, per_column, output.zero, *output.clamp),
    )
    call = library(build).gemm_u8 if output.dtype == np.uint8 else library(build).gemm_i8
    if not call(ctypes.byref(task), ctypes.c_void_p(y.ctypes.data)):
        raise RuntimeError(f"gemmlowp has no such pipeline in the build {build}")
    return y


def random_products(rng):
    m, n, k = shape(rng)
    a, b = matrix(rng, np.uint8, m, k), matrix(rng, np.uint8, k, n)
    a_zero, b_zero = int(zeros(rng, np.uint8)), int(zeros(rng, np.uint8))
    spread = np.abs(product(a, a_zero, b, b_zero)).max() + 1
    bias = np.rint(rng.uniform(-1, 1, n) * spread).astype(np.int32)
    return Operands(a, b, a_zero, b_zero, bias, 100 / spread * 2.0 ** rng.uniform(-2, 3))


def random_sums(rng):
    a, b = np.zeros((1, 1), np.uint8), np.zeros((1, COLUMNS), np.uint8)
    factor = 2.0 ** rng.uniform(-31, 10)
    target = rng.integers(-300, 301, COLUMNS) + rng.choice([0.5, 0.5, 0.5, 0, 0.25], COLUMNS)
    sums = target / factor + rng.choice([0, 0, 0, -1, 1, 2], COLUMNS)
    kind = rng.random(COLUMNS)
    ends = [-(2**31), 1 - 2**31, -(2**30), -(2**24) - 1, -1, 0, 1, 2**24 + 1, 2**30, 2**31 - 1]
    sums = np.where(kind < 0.1, rng.choice(ends, COLUMNS), sums)
    sums = np.where(kind > 0.9, rng.integers(-(2**31), 2**31, COLUMNS), sums)
    return Operands(a, b, 0, 0, np.clip(np.rint(sums), -(2**31), 2**31 - 1).astype(np.int32), factor)


def multipliers(rng, factor, count):
    """`count` random multipliers around `factor`, often powers of two, and their exponents."""
    factors = factor * np.exp2(rng.uniform(-1, 1, count) * (count > 1))
    mantissa, exponent = np.frexp(factors)
    multiplier = np.minimum(np.rint(mantissa * 2**31), 2**31 - 1)
    kind = rng.random()
    if kind < 0.4:
        multiplier = np.full(count, 2**30)
    elif kind < 0.5:
        multiplier = rng.choice([0, 2**30, 2**30 + 1, 3 * 2**29, 2**31 - 1], count)
    return multiplier.astype(np.int32), np.clip(exponent, -31, 30).astype(np.int32)


def output_pipeline(build, draw, per_column):
    def case(rng):
        operands = draw(rng)
        a, b, bias, a_zero, b_zero = operands.a, operands.b, operands.bias, operands.a_zero, operands.b_zero
        multiplier, exponent = multipliers(rng, operands.factor, b.shape[1] if per_column else 1)
        y_type = np.dtype(np.uint8 if build == "sse4" or rng.random() < 0.5 else np.int8)
        info = np.iinfo(y_type)
        y_zero, clamp = int(zeros(rng, y_type)), (info.min, info.max)
        if rng.random() < 0.3:
            clamp = tuple(int(c) for c in np.sort(rng.integers(info.min, info.max + 1, 2)))
        output = Output(multiplier, exponent, y_zero, clamp, y_type)
        call = as_call(
            "fixed_point", a, b, a_zero, b_zero, {"bias": bias, "multiplier": multiplier, "shift": exponent},
            rounding="gemmlowp", zero_point=y_zero, clamp=clamp, output="u8" if y_type == np.uint8 else "i8",
        )  # fmt: skip
        # Sums that are shifted left wrap around with SSE4.1. The zero point is added in i32, which wraps around in
        # both builds.
        shifted = product(a, a_zero, b, b_zero, bias) * np.exp2(np.maximum(exponent, 0))
        limited = np.clip(shifted, -(2**31), 2**31 - 1)
        scaled = limited * multiplier * np.exp2(np.minimum(exponent, 0) - 31.0)
        fits = np.abs(scaled) + abs(y_zero) + 1 < 2**31
        if build == "sse4":
            fits &= shifted == limited
        return Case(
            call,
            {"y": gemm(build, operands, output)},
            {} if fits.all() else {"y": fits},
            {rounding: call.but(rounding=rounding) for rounding in ("ruy", "single", "reference")},
        )

    return case


for build, draw, per_column in (
    ("plain", random_products, False),
    ("plain", random_sums, False),
    ("plain", random_products, True),
    ("plain", random_sums, True),
    ("sse4", random_products, False),
    ("sse4", random_sums, False),
):
    drawn = draw.__name__.removeprefix("random_")
    name = f"{build}, {'per column' if per_column else 'per tensor'}, {drawn}"
    check(NAME, name, "fixed_point, Gemmlowp", 0.5 if build == "sse4" or drawn == "products" else 1)(
        output_pipeline(build, draw, per_column)
    )
