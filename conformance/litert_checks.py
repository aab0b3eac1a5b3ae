"""LiteRT's FULLY_CONNECTED in int8: on XNNPACK, on its built-in kernels (ruy), on its reference kernels.

Checks of `products` multiply random matrices. Checks of `sums` multiply zeros, so that the bias is the sum: ties,
values next to ties, and up to ±2^31, with factors over the whole range that XNNPACK accepts.
"""

import itertools
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

import litert_models
from cases import Case, as_call, check, matrix, product, scales, shape, zeros

NAME = "litert"
# XNNPACK accepts factors from 2^-32 up to, but not including, 256.
LEAST, MOST = 2.0**-32, 2.0**8


def report():
    print(f"{NAME}: ai-edge-litert {version('ai-edge-litert')}")


@dataclass
class Layer:
    x: np.ndarray
    # N×K.
    weights: np.ndarray
    bias: np.ndarray
    x_zero: np.int8
    y_zero: np.int8
    x_scale: np.float32
    # One, or one per channel (column of y).
    w_scale: np.ndarray
    y_scale: np.float32


def random_products(rng, per_channel):
    """A layer of random matrices."""
    m, n, k = shape(rng)
    x, weights = matrix(rng, np.int8, m, k), matrix(rng, np.int8, n, k)
    x_zero, y_zero = zeros(rng, np.int8), zeros(rng, np.int8)
    sums = product(x, x_zero, weights.T, 0)
    x_scale, w_scale, y_scale = scales(rng, sums, n if per_channel else None)
    spread = np.abs(sums).max() + 1
    bias = np.rint(rng.uniform(-1, 1, n) * spread).astype(np.int32)
    return Layer(x, weights, bias, x_zero, y_zero, x_scale, w_scale, y_scale)


def random_sums(rng, per_channel):
    """A layer whose sums are its bias."""
    n = 1024
    count = n if per_channel else 1
    x_zero, y_zero = zeros(rng, np.int8), zeros(rng, np.int8)
    # Small odd factors make ties depend on the order in which the scales are combined.
    odd = [1, 1, 3, 5, 7, 11, 13, 41, 47, 49, 55, 61, 103, 107, 161]
    x_scale = np.float32(np.exp2(rng.integers(-8, 1)) * rng.choice(odd))
    y_scale = np.float32(np.exp2(rng.integers(-8, 1)) * rng.choice(odd))
    if rng.random() < 0.5:
        x_scale, y_scale = np.float32(x_scale * rng.uniform(0.5, 1)), np.float32(y_scale * rng.uniform(0.5, 1))
    exponent = rng.uniform(-30.9, 6.9) + rng.uniform(-1, 1, count) * (rng.random() < 0.5)
    factor = np.exp2(np.clip(exponent, -31.9, 7.9))
    w_scale = (factor * y_scale / x_scale).astype(np.float32)
    if rng.random() < 0.5:
        w_scale = np.exp2(np.floor(np.log2(w_scale)))
    factor = np.broadcast_to(np.float64(x_scale) * np.float64(w_scale) / np.float64(y_scale), n)
    target = rng.integers(-140, 141, n) + rng.choice([0.5, 0.5, 0.5, 0, 0.25], n)
    bias = np.rint(np.clip(target / factor + rng.choice([0, 0, 0, -1, 1, 2], n), -(2**31), 2**31 - 1))
    ends = [-(2**31), 1 - 2**31, -(2**30), -(2**24) - 1, -1, 0, 1, 2**24 + 1, 2**30, 2**31 - 1]
    bias = np.where(rng.random(n) < 0.1, rng.choice(ends, n), bias).astype(np.int32)
    weights = np.zeros((n, 1), np.int8)
    x = np.full((1, 1), x_zero)
    w_scale = w_scale if per_channel else w_scale[0]
    return Layer(x, weights, bias, x_zero, y_zero, x_scale, w_scale, y_scale)


def clamp(rng, y_zero, y_scale):
    """A random activation of the model, and the limits that it sets to the quantized output; or None and None."""
    steps = 6 / y_scale
    if rng.random() < 0.6 or abs(steps - np.rint(steps)) == 0.5:
        return None, None
    if rng.random() < 0.5:
        return "relu", (int(y_zero), 127)
    return "relu6", (int(y_zero), min(127, int(y_zero) + int(min(np.rint(steps), 300))))


def fully_connected(kernels, draw, per_channel, requantize):
    """`requantize` gives the `Scaling` of a layer with its sums."""

    def case(rng):
        while True:
            layer = draw(rng, per_channel)
            factor = layer.x_scale * layer.w_scale / layer.y_scale
            if np.all((factor >= LEAST) & (factor < MOST)):
                break
        activation, limits = clamp(rng, layer.y_zero, layer.y_scale)
        x_q, y_q = (layer.x_scale, layer.x_zero), (layer.y_scale, layer.y_zero)
        model = litert_models.fully_connected(
            len(layer.x), layer.weights, layer.bias, x_q, layer.w_scale, y_q, activation
        )
        sums = product(layer.x, layer.x_zero, layer.weights.T, 0, layer.bias)
        scaling = requantize(sums, int(layer.y_zero), layer.x_scale, np.atleast_1d(layer.w_scale), layer.y_scale)
        tensors = {name: np.atleast_1d(t) for name, t in scaling.tensors.items()}
        call = as_call(
            scaling.op, layer.x, layer.weights, layer.x_zero, None, {"bias": layer.bias, **tensors},
            zero_point=int(layer.y_zero), clamp=limits, output="i8", b_transposed=True, **scaling.parameters,
        )  # fmt: skip
        return Case(
            call,
            {"y": litert_models.run(model, layer.x, kernels)},
            {} if scaling.fits.all() else {"y": scaling.fits},
            {name: call.but(tensors, **parameters) for name, (tensors, parameters) in scaling.controls.items()},
        )

    return case


@dataclass
class Scaling:
    """An operation of qgemm that scales as a set of kernels does."""

    op: str
    tensors: dict
    parameters: dict
    # The sums that are compared.
    fits: np.ndarray
    # Tensors and parameters to replace, by the control's name.
    controls: dict


def xnnpack(sums, y_zero, x_scale, w_scale, y_scale):
    tensors = {"a_scale": x_scale, "b_scale": w_scale, "y_scale": y_scale}
    # Where scaled sum and zero point add up to less than -2^31, its AVX-512 kernel wraps around and stores 127.
    scaled = sums.astype(np.float32) * np.float64(x_scale * w_scale / y_scale)
    controls = {"sx·(sw/sy)": x_scale * (w_scale / y_scale), "(sx/sy)·sw": x_scale / y_scale * w_scale}
    controls = {f"scale {name}": ({"scale": scale}, {}) for name, scale in controls.items()}
    return Scaling("requantize", tensors, {}, scaled + y_zero > -(2.0**31), controls)


def factor_in_f64(x_scale, w_scale, y_scale):
    """sx·sw/sy in f64."""
    return np.float64(x_scale) * np.float64(w_scale) / np.float64(y_scale)


def factor_by_f32(x_scale, w_scale, y_scale):
    """sx·sw in f32, divided by sy in f64."""
    return np.float64(x_scale * w_scale) / np.float64(y_scale)


def built_in(sums, y_zero, *scales):
    """The product of scales is an f32 if there is one scale of weights, and an f64 if there is one per channel."""
    per_tensor = len(scales[1]) == 1
    factor, other = (factor_by_f32, factor_in_f64) if per_tensor else (factor_in_f64, factor_by_f32)
    _, exponent = np.frexp(factor(*scales) * (1 + 2.0**-31))
    # Sums that are shifted left wrap around.
    fits = np.abs(sums) * np.exp2(np.maximum(exponent, 0)) < 2.0**31
    controls = {r: ({}, {"rounding": r}) for r in ("gemmlowp", "single", "reference")}
    controls["other factor"] = ({"factor_f64": other(*scales)}, {})
    return Scaling("fixed_point", {"factor_f64": factor(*scales)}, {"rounding": "ruy"}, fits, controls)


def reference(sums, y_zero, *scales):
    """The sum is multiplied by the factor in f64, not by a multiplier of 31 bits."""
    # The zero point is added in i32, which wraps around.
    fits = np.abs(sums * factor_in_f64(*scales)) + abs(y_zero) + 1 < 2.0**31
    controls = {"factor by f32": ({"factor_f64": factor_by_f32(*scales)}, {})}
    return Scaling("requantize_in_f64", {"factor_f64": factor_in_f64(*scales)}, {}, fits, controls)


for kernels, setting, requantize in (
    ("xnnpack", "Requantize::new, (sx·sw)/sy", xnnpack),
    ("built-in", "Requantize::fixed_point, Ruy", built_in),
    ("reference", "Requantize::in_f64", reference),
):
    for per_channel, draw in itertools.product((False, True), (random_products, random_sums)):
        name = f"{kernels}, per {'channel' if per_channel else 'tensor'}, {draw.__name__.removeprefix('random_')}"
        check(NAME, name, setting)(fully_connected(kernels, draw, per_channel, requantize))
