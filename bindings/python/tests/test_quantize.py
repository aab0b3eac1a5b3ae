"""Quantization against the formulas of the documentation, byte for byte."""

import numpy as np
import pytest
from formulas import LAYOUTS, strided
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import qgemm

ARRAYS = hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0), elements=st.floats(width=32))


@settings(deadline=None, max_examples=300)
@given(ARRAYS, st.sampled_from([0.5, 0.1, 3.0]), st.integers(-300, 300), st.sampled_from([np.int8, np.uint8]))
def test_quantize_and_back(x, scale, zero, dtype):
    with np.errstate(over="ignore"):
        steps = np.nan_to_num(np.rint(x / np.float32(scale)).astype(np.float64), nan=0, posinf=1e9, neginf=-1e9)
    limits = np.iinfo(dtype)
    want = np.clip(steps + zero, limits.min, limits.max).astype(dtype)
    got = qgemm.quantize(x, scale, zero, dtype)
    assert got.shape == x.shape
    np.testing.assert_array_equal(got, want)
    back = qgemm.dequantize(got, scale, zero)
    np.testing.assert_array_equal(back, (want.astype(np.int32) - zero).astype(np.float32) * np.float32(scale))


def test_arrays_of_any_strides():
    x = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    for view in (x[::-1], x.transpose(2, 0, 1), x[:, ::2, ::-2], np.broadcast_to(x[0, 0], (2, 3, 5))):
        q = qgemm.quantize(view, 0.5)
        np.testing.assert_array_equal(q, qgemm.quantize(view.copy("C"), 0.5))
        np.testing.assert_array_equal(qgemm.dequantize(q[..., ::-1], 0.5), qgemm.dequantize(q, 0.5)[..., ::-1])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_quantize_rows_and_columns(layout):
    big = np.random.default_rng(5).standard_normal((41, 61)).astype(np.float32)
    big[:, 1] = 0
    x = strided(layout, big, 20, 20)
    for quantize, axis in ((qgemm.quantize_rows, 1), (qgemm.quantize_columns, 0)):
        q, scales = quantize(x)
        want = np.abs(x).max(axis) / np.float32(127)
        want[want == 0] = 1
        np.testing.assert_array_equal(scales, want)
        divided = np.rint(x / np.expand_dims(want, axis))
        np.testing.assert_array_equal(q, np.clip(divided, -127, 127).astype(np.int8))


def test_wrong_arguments():
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="^scale: value 0 was 0, must be finite and positive"):
        qgemm.quantize(x, 0)
    with pytest.raises(TypeError, match="^scale: "):
        qgemm.quantize(x, "x")
    with pytest.raises(TypeError, match="^q: has elements of float32"):
        qgemm.dequantize(x, 1)
    with pytest.raises(ValueError, match=r"^x: element \(0, 0\) was inf"):
        qgemm.quantize_rows(x * np.float32(np.inf))
    with pytest.raises(ValueError, match="^dtype: was i32"):
        qgemm.quantize(x, 1, dtype="i32")
