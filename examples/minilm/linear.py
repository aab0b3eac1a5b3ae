"""Linear layers in float32, 8 bits and 4 bits. For x of M x K, weights of K x N and N biases they compute M x N values

    activation(x @ w + bias + residual)

w is given as K x N; residual is M x N or None; activation is "gelu" or None.
"""

import hashlib
from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
import qgemm

from weights import Floats

Activation = Literal["gelu"]
GROUP = 32  # rows of weights of 4 bits that share a scale and a zero point


class Linear(Protocol):
    """A layer that keeps its weights as it multiplies them."""

    def __call__(
        self, x: Floats, residual: Floats | None = None, activation: Activation | None = None, threads: int = 1
    ) -> Floats: ...


def gelu(x: Floats) -> Floats:
    """x times the normal distribution function of x, in float32. NumPy has no erf: this is formula 7.1.26 of Abramowitz
    and Stegun, whose error is at most 1.5e-7."""
    z = np.abs(x) * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    p = np.full_like(t, 1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        p = p * t + np.float32(coefficient)
    erf = np.copysign(1 - p * t * np.exp(-z * z), x)
    return np.float32(0.5) * x * (1 + erf)


class FloatLinear:
    """The reference: float32, by NumPy alone."""

    def __init__(self, w: Floats, bias: Floats):
        self.w, self.bias = np.ascontiguousarray(w), bias

    def __call__(
        self, x: Floats, residual: Floats | None = None, activation: Activation | None = None, threads: int = 1
    ) -> Floats:
        y = x @ self.w
        y += self.bias
        if residual is not None:
            y += residual
        return gelu(y) if activation == "gelu" else y


class Int8Linear:
    """Weights of 8 bits with a scale per column, activations of 8 bits with a scale per row, which the call finds."""

    def __init__(self, w: Floats, bias: Floats):
        q, self.scale = qgemm.quantize_columns(w)
        self.b, self.bias = qgemm.PackedB(q), bias

    def __call__(
        self, x: Floats, residual: Floats | None = None, activation: Activation | None = None, threads: int = 1
    ) -> Floats:
        return qgemm.dynamic_matmul(
            x, self.b, self.scale, self.bias, residual=residual, activation=activation, threads=threads
        )


class DigestedLinear(Int8Linear):
    """The same values as Int8Linear, in steps. The int32 sums of each call go into a sha256 that all layers share."""

    digest = hashlib.sha256()

    def __call__(
        self, x: Floats, residual: Floats | None = None, activation: Activation | None = None, threads: int = 1
    ) -> Floats:
        q, scale = qgemm.quantize_rows(x)
        self.digest.update(qgemm.matmul(q, self.b, threads=threads).astype("<i4", copy=False).tobytes())
        return qgemm.matmul(
            q,
            self.b,
            scale=(scale, self.scale),
            bias=self.bias,
            residual=residual,
            activation=activation,
            out_dtype="f32",
            threads=threads,
        )


class GroupwiseLinear:
    """Weights of 4 bits with a scale and a zero point per column and GROUP rows."""

    def __init__(self, b: qgemm.GroupwiseB, bias: Floats):
        self.b, self.bias = b, bias

    def __call__(
        self, x: Floats, residual: Floats | None = None, activation: Activation | None = None, threads: int = 1
    ) -> Floats:
        return self.b.matmul(x, self.bias, residual=residual, activation=activation, threads=threads)


def nearest(w: Floats, bias: Floats) -> GroupwiseLinear:
    """Each weight rounded to the nearest value of 4 bits, whatever the inputs are."""
    return GroupwiseLinear(qgemm.GroupwiseB.quantize(w, bits=4, group=GROUP, scheme="asymmetric"), bias)


# A form makes a layer of its weights and biases.
Form = Callable[[Floats, Floats], Linear]
