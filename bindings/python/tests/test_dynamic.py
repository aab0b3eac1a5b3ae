"""`dynamic_matmul` against the formulas of its documentation, byte for byte."""

import numpy as np
import pytest
from formulas import LAYOUTS, matrices, saturated, strided, sums
from hypothesis import given, settings
from hypothesis import strategies as st

import qgemm


def quantized(x, asymmetric, per_tensor):
    """q, s and z of the documentation."""
    groups = x.reshape(1, -1) if per_tensor else x
    if asymmetric:
        lo, hi = np.minimum(groups.min(1, initial=0), 0), np.maximum(groups.max(1, initial=0), 0)
        s = (hi - lo) / np.float32(255)
    else:
        lo, s = None, np.abs(groups).max(1, initial=0) / np.float32(127)
    s = np.where(s == 0, np.float32(1), s).astype(np.float32)
    z = np.clip(np.rint(-lo / s), 0, 255).astype(np.int32) if asymmetric else np.zeros(len(s), np.int32)
    limits = (0, 255) if asymmetric else (-127, 127)
    q = np.clip(np.rint(x / s.reshape(-1, 1)) + z.reshape(-1, 1), *limits).astype(np.int64)
    return q, s, z


@st.composite
def cases(draw):
    m, k, n = draw(st.tuples(st.integers(1, 20), st.integers(1, 70), st.integers(1, 40)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    big = rng.standard_normal((2 * m + 1, 3 * k + 1), np.float32) * np.float32(draw(st.sampled_from([1e-3, 1, 1e4])))
    x = strided(draw(st.sampled_from(LAYOUTS)), big, m, k)
    b = draw(matrices(k, n))
    scale = rng.random(n, np.float32) if draw(st.booleans()) else 0.01
    ways = {"asymmetric": draw(st.booleans()), "per_tensor": draw(st.booleans())}
    b_zero = draw(st.integers(-300, 300))
    packed = draw(st.sampled_from([None, "i8", "u8"]))
    return rng, x, b, scale, ways, b_zero, b if packed is None else qgemm.PackedB(b, packed)


@settings(deadline=None, max_examples=200)
@given(cases())
def test_f32(case):
    rng, x, b, scale, ways, b_zero, rhs = case
    bias = rng.standard_normal(b.shape[1], np.float32)
    q, s, z = quantized(x, **ways)
    real = sums(q, b, z, b_zero).astype(np.float32) * (s.reshape(-1, 1) * np.float32(scale))
    got, scales, zeros = qgemm.dynamic_matmul(x, rhs, scale, bias, b_zero=b_zero, return_params=True, **ways)
    np.testing.assert_array_equal(scales, s)
    np.testing.assert_array_equal(zeros, z)
    np.testing.assert_array_equal(got, real + bias)
    out = np.zeros_like(got)
    assert qgemm.dynamic_matmul(x, rhs, scale, b_zero=b_zero, activation="relu", out=out, **ways) is out
    np.testing.assert_array_equal(out, np.maximum(real, 0))


@settings(deadline=None, max_examples=100)
@given(cases(), st.sampled_from([np.int8, np.uint8]))
def test_eight_bits(case, dtype):
    rng, x, b, scale, ways, b_zero, rhs = case
    residual = rng.integers(-128, 128, (len(x), b.shape[1]), np.int8)
    q, s, z = quantized(x, **ways)
    real = sums(q, b, z, b_zero).astype(np.float32) * (s.reshape(-1, 1) * np.float32(scale))
    real = real + residual.astype(np.float32) * np.float32(0.5)
    extra = {"b_zero": b_zero, "residual": residual, "residual_scale": 0.5, "out_zero": 7, "out_dtype": dtype}
    got = qgemm.dynamic_matmul(x, rhs, scale, **extra, **ways)
    np.testing.assert_array_equal(got, saturated(np.rint(real), 7, dtype))


def test_wrong_arguments():
    x, b = np.ones((2, 3), np.float32), np.ones((3, 4), np.int8)
    with pytest.raises(TypeError, match="^x: has elements of float64, must be of float32"):
        qgemm.dynamic_matmul(x.astype(np.float64), b, 1)
    with pytest.raises(ValueError, match="^bias: was given, must not be for an output of int8"):
        qgemm.dynamic_matmul(x, b, 1, [1.0] * 4, out_dtype="i8")
    with pytest.raises(ValueError, match="^out_dtype: was i32"):
        qgemm.dynamic_matmul(x, b, 1, out_dtype="i32")
    x[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"element \(1, 2\) was NaN, must be finite"):
        qgemm.dynamic_matmul(x, b, 1)
