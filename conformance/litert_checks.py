"""LiteRT's FULLY_CONNECTED in int8: on XNNPACK, on its built-in kernels (ruy), on its reference kernels.

`products` are random matrices; `sums` are sums given through the bias (weights and inputs contribute nothing):
on ties, next to them, and up to ±2^31, for multipliers over the whole range that XNNPACK takes.
"""

import itertools
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

import litert_models
from cases import Case, as_call, check, matrix, product, scales, shape, zeros

NAME = "litert"
# XNNPACK takes multipliers from 2^-32 up to 256.
LEAST, MOST = 2.0**-32, 2.0**8


def report():
    print(f"{NAME}: ai-edge-litert {version('ai-edge-litert')}")


def random_products(rng, columns):
    """x, weights (N×K), bias, zero points and scales of a random product."""
    m, n, k = shape(rng)
    x, weights = matrix(rng, np.int8, m, k), matrix(rng, np.int8, n, k)
    x_zero, y_zero = zeros(rng, np.int8), zeros(rng, np.int8)
    sums = product(x, x_zero, weights.T, 0)
    x_scale, w_scale, y_scale = scales(rng, sums, n if columns else None)
    spread = np.abs(sums).max() + 1
    bias = np.rint(rng.uniform(-1, 1, n) * spread).astype(np.int32)
    return x, weights, bias, x_zero, y_zero, x_scale, w_scale, y_scale


def random_sums(rng, columns):
    """The same, for sums that the bias gives."""
    n = 1024
    count = n if columns else 1
    x_zero, y_zero = zeros(rng, np.int8), zeros(rng, np.int8)
    # Small odd factors make ties depend on the order in which the scales are combined.
    odd = [1, 1, 3, 5, 7, 11, 13, 41, 47, 49, 55, 61, 103, 107, 161]
    x_scale = np.float32(np.exp2(rng.integers(-8, 1)) * rng.choice(odd))
    y_scale = np.float32(np.exp2(rng.integers(-8, 1)) * rng.choice(odd))
    if rng.random() < 0.5:
        x_scale, y_scale = np.float32(x_scale * rng.uniform(0.5, 1)), np.float32(y_scale * rng.uniform(0.5, 1))
    exponent = rng.uniform(-30.9, 6.9) + rng.uniform(-1, 1, count) * (rng.random() < 0.5)
    real = np.exp2(np.clip(exponent, -31.9, 7.9))
    w_scale = (real * y_scale / x_scale).astype(np.float32)
    if rng.random() < 0.5:
        w_scale = np.exp2(np.floor(np.log2(w_scale)))
    real = np.broadcast_to(np.float64(x_scale) * np.float64(w_scale) / np.float64(y_scale), n)
    target = rng.integers(-140, 141, n) + rng.choice([0.5, 0.5, 0.5, 0, 0.25], n)
    bias = np.rint(np.clip(target / real + rng.choice([0, 0, 0, -1, 1, 2], n), -(2**31), 2**31 - 1))
    ends = [-(2**31), 1 - 2**31, -(2**30), -(2**24) - 1, -1, 0, 1, 2**24 + 1, 2**30, 2**31 - 1]
    bias = np.where(rng.random(n) < 0.1, rng.choice(ends, n), bias).astype(np.int32)
    weights = np.zeros((n, 1), np.int8)
    x = np.full((1, 1), x_zero)
    return x, weights, bias, x_zero, y_zero, x_scale, w_scale if columns else w_scale[0], y_scale


def clamp(rng, y_zero, y_scale):
    """An activation and what it means for the output."""
    steps = 6 / y_scale
    if rng.random() < 0.6 or abs(steps - np.rint(steps)) == 0.5:
        return None, None
    if rng.random() < 0.5:
        return "relu", (int(y_zero), 127)
    return "relu6", (int(y_zero), min(127, int(y_zero) + int(min(np.rint(steps), 300))))


def fully_connected(kernels, draw, columns, requantize):
    """`requantize` gives the operation's name, tensors and parameters, where it is compared, and controls."""

    def case(rng):
        while True:
            x, weights, bias, x_zero, y_zero, x_scale, w_scale, y_scale = draw(rng, columns)
            scale = x_scale * w_scale / y_scale
            if np.all((scale >= LEAST) & (scale < MOST)):
                break
        activation, bounds = clamp(rng, y_zero, y_scale)
        model = litert_models.fully_connected(
            len(x), weights, bias, (x_scale, x_zero), w_scale, (y_scale, y_zero), activation
        )
        sums = product(x, x_zero, weights.T, 0, bias)
        scaling = requantize(sums, int(y_zero), x_scale, np.atleast_1d(w_scale), y_scale)
        tensors = {name: np.atleast_1d(t) for name, t in scaling.tensors.items()}
        call = as_call(
            scaling.op, x, weights, x_zero, None, {"bias": bias, **tensors},
            zero_point=int(y_zero), clamp=bounds, output="i8", b_transposed=True, **scaling.parameters,
        )  # fmt: skip
        return Case(
            call,
            {"y": litert_models.run(model, x, kernels)},
            {} if scaling.fits.all() else {"y": scaling.fits},
            {name: call.but(tensors, **parameters) for name, (tensors, parameters) in scaling.controls.items()},
        )

    return case


@dataclass
class Scaling:
    op: str
    tensors: dict
    parameters: dict
    fits: np.ndarray
    controls: dict


def xnnpack(sums, y_zero, x_scale, w_scale, y_scale):
    tensors = {"a_scale": x_scale, "b_scale": w_scale, "y_scale": y_scale}
    # Below -2^31 - zero point its AVX-512 kernel wraps around and stores 127.
    scaled = sums.astype(np.float32) * np.float64(x_scale * w_scale / y_scale)
    controls = {"sx·(sw/sy)": x_scale * (w_scale / y_scale), "(sx/sy)·sw": x_scale / y_scale * w_scale}
    controls = {f"scale {name}": ({"scale": scale}, {}) for name, scale in controls.items()}
    return Scaling("requantize", tensors, {}, scaled + y_zero > -(2.0**31), controls)


def real(x_scale, w_scale, y_scale):
    """The real factor in f64."""
    return np.float64(x_scale) * np.float64(w_scale) / np.float64(y_scale)


def real_by_f32(x_scale, w_scale, y_scale):
    """The same with the product of the first two in f32."""
    return np.float64(x_scale * w_scale) / np.float64(y_scale)


def built_in(sums, y_zero, *scales):
    """Per tensor the product of the scales is an f32, per channel an f64."""
    one = len(scales[1]) == 1
    factor, other = (real_by_f32, real)[:: 1 if one else -1]
    _, exponent = np.frexp(factor(*scales) * (1 + 2.0**-31))
    # Sums that are shifted left wrap around.
    fits = np.abs(sums) * np.exp2(np.maximum(exponent, 0)) < 2.0**31
    controls = {r: ({}, {"rounding": r}) for r in ("gemmlowp", "single", "reference")}
    controls["other factor"] = ({"real": other(*scales)}, {})
    return Scaling("fixed_point", {"real": factor(*scales)}, {"rounding": "ruy"}, fits, controls)


def reference(sums, y_zero, *scales):
    """All in f64, without a multiplier of 31 bits."""
    # The zero point is added in i32.
    fits = np.abs(sums * real(*scales)) + abs(y_zero) + 1 < 2.0**31
    controls = {"factor by f32": ({"real": real_by_f32(*scales)}, {})}
    return Scaling("real", {"real": real(*scales)}, {}, fits, controls)


for kernels, setting, requantize in (
    ("xnnpack", "Requantize::new, (sx·sw)/sy", xnnpack),
    ("built-in", "Requantize::fixed_point, Ruy", built_in),
    ("reference", "Requantize::real", reference),
):
    for columns, draw in itertools.product((False, True), (random_products, random_sums)):
        name = f"{kernels}, per {'channel' if columns else 'tensor'}, {draw.__name__.removeprefix('random_')}"
        check(NAME, name, setting)(fully_connected(kernels, draw, columns, requantize))
