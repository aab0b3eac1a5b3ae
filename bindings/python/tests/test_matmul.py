"""`matmul` against the formulas of its documentation, byte for byte."""

import numpy as np
import pytest
from formulas import half_away, matrices, saturated, sums
from hypothesis import given, settings
from hypothesis import strategies as st

import qgemm

SIZES = st.tuples(st.integers(0, 40), st.integers(0, 70), st.integers(0, 40))
ZEROS = st.integers(-(2**31), 2**31 - 1)


@st.composite
def operands(draw, zeros=st.integers(-300, 300)):
    m, k, n = draw(SIZES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    a, b = draw(matrices(m, k)), draw(matrices(k, n))
    arguments = {}
    if draw(st.booleans()):
        arguments["a_zero"] = draw(st.one_of(zeros, st.just(rng.integers(-200, 200, m))))
    if draw(st.booleans()):
        arguments["b_zero"] = draw(st.one_of(zeros, st.just(rng.integers(-128, 127, n, np.int8))))
    if draw(st.booleans()):
        arguments["bias"] = rng.integers(-(2**31), 2**31, n, np.int64)
    packed = draw(st.sampled_from([None, "i8", "u8"]))
    return a, b, arguments, b if packed is None else qgemm.PackedB(b, activations=packed)


@settings(deadline=None, max_examples=300)
@given(operands(zeros=ZEROS), st.sampled_from([None, 1, 2]))
def test_i32_is_the_exact_sum(case, threads):
    a, b, arguments, rhs = case
    got = qgemm.matmul(a, rhs, threads=threads, **arguments)
    assert got.dtype == np.int32 and got.flags.c_contiguous
    with np.errstate(over="ignore"):
        want = sums(a, b, **arguments).astype(np.int32)
    np.testing.assert_array_equal(got, want)


@settings(deadline=None, max_examples=200)
@given(operands(), st.data())
def test_eight_bits_with_float_scales(case, data):
    a, b, arguments, rhs = case
    (m, n), rng = (a.shape[0], b.shape[1]), np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    dtype = data.draw(st.sampled_from([np.int8, np.uint8]))
    rows, columns = (rng.random(size, np.float32) * np.float32(0.01) for size in (m, n))
    scale, factor = data.draw(
        st.sampled_from(
            [
                (0.003, np.float32(0.003)),
                (columns, columns),
                (columns.astype(np.float64), columns),
                (rows.reshape(m, 1), rows.reshape(m, 1)),
                ((rows, columns), rows.reshape(m, 1) * columns),
            ]
        )
    )
    zero, clamp = data.draw(st.integers(-100, 300)), data.draw(st.sampled_from([None, (5, 90), (None, 50)]))
    extra = {} if clamp is None else {"clamp": clamp}
    real = sums(a, b, **arguments).astype(np.float32) * factor
    if data.draw(st.booleans()):
        residual = data.draw(matrices(m, n))
        extra |= {"residual": residual, "residual_scale": 0.37, "residual_zero": -7}
        real = real + (residual.astype(np.int32) + 7).astype(np.float32) * np.float32(0.37)
    want = saturated(np.rint(real), zero, dtype, clamp or (None, None))
    if data.draw(st.booleans()):
        extra["table"] = rng.integers(0, 256, 256).astype(np.uint8).view(dtype)
        want = extra["table"][want]
    got = qgemm.matmul(a, rhs, scale=scale, out_zero=zero, out_dtype=dtype, **extra, **arguments)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, want)


@settings(deadline=None, max_examples=100)
@given(operands(), st.booleans())
def test_eight_bits_with_f64_factors(case, per_column):
    a, b, arguments, rhs = case
    factors = np.linspace(0.0001, 0.01, b.shape[1]) if per_column else 0.00123
    acc = sums(a, b, **arguments).astype(np.float64)
    want = saturated(half_away(acc * factors), -5, np.int8)
    got = qgemm.matmul(a, rhs, factors=factors, out_zero=-5, out_dtype="i8", **arguments)
    np.testing.assert_array_equal(got, want)


def rounded(x, m, shift, rounding):
    """x * m * 2**(shift - 31) as the library documents its roundings."""
    if rounding in ("single", "reference"):
        by, product = 31 - shift, x * m
        if rounding == "reference":
            magnitude = (abs(product) + (1 << by - 1)) >> by
            return magnitude if product >= 0 else -magnitude
        return (product + (1 << by - 1)) >> by
    x = max(-(2**31), min(2**31 - 1, x << max(shift, 0)))
    product = x * m
    nudge = 1 << 30 if product >= 0 else 1 - (1 << 30)
    high = int(abs(product + nudge) >> 31) * (1 if product + nudge >= 0 else -1)
    by = max(-shift, 0)
    if by == 0:
        return high
    if rounding == "ruy":
        return (high + (1 << by - 1)) >> by
    magnitude = (abs(high) + (1 << by - 1)) >> by
    return magnitude if high >= 0 else -magnitude


@pytest.mark.parametrize("rounding", ["gemmlowp", "ruy", "single", "reference"])
@pytest.mark.parametrize("per_column", [False, True])
def test_eight_bits_with_multipliers(rounding, per_column):
    rng = np.random.default_rng(1)
    a, b = rng.integers(-128, 128, (9, 31), np.int8), rng.integers(-128, 128, (31, 7), np.int8)
    m = rng.integers(1 << 30, 1 << 31, 7) if per_column else np.full(7, 1_500_000_000)
    shift = rng.integers(-12, -5, 7) if per_column else np.full(7, -8)
    pair = (m, shift) if per_column else (int(m[0]), int(shift[0]))
    acc = sums(a, b)
    whole = [[rounded(int(x), int(m[j]), int(shift[j]), rounding) for j, x in enumerate(row)] for row in acc]
    got = qgemm.matmul(a, b, multipliers=pair, rounding=rounding, out_zero=3, out_dtype="i8")
    np.testing.assert_array_equal(got, saturated(np.array(whole), 3, np.int8))


@settings(deadline=None, max_examples=200)
@given(operands(), st.data())
def test_f32(case, data):
    a, b, arguments, rhs = case
    (m, n), rng = (a.shape[0], b.shape[1]), np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    columns = rng.random(n, np.float32)
    want = sums(a, b, **arguments).astype(np.float32) * columns
    extra = {}
    if "bias" not in arguments and data.draw(st.booleans()):
        extra["bias"] = rng.standard_normal(n, np.float32)
        want = want + extra["bias"]
    if data.draw(st.booleans()):
        extra["residual"] = rng.standard_normal((m, n), np.float32)
        want = want + extra["residual"]
    kind = data.draw(st.sampled_from([None, "clamp", "relu", "relu6", "hard_swish"]))
    if kind == "clamp":
        extra["clamp"] = (-1.5, None)
        want = np.maximum(want, np.float32(-1.5))
    elif kind is not None:
        extra["activation"] = kind
        if kind == "hard_swish":
            near = np.maximum(want, np.float32(-3))
            want = near * (np.minimum(near + np.float32(3), np.float32(6)) / np.float32(6))
        else:
            want = np.clip(want, 0, np.inf if kind == "relu" else 6)
    got = qgemm.matmul(a, rhs, scale=columns, out_dtype="f32", **extra, **arguments)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, want.astype(np.float32))


def test_activations_are_the_functions():
    a = np.arange(-128, 128, dtype=np.int16).astype(np.int8).reshape(256, 1)
    b = np.ones((1, 1), np.int8)
    x = a.astype(np.float64) / 16
    sigmoid = 1 / (1 + np.exp(-x))
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    known = {"sigmoid": sigmoid, "silu": x * sigmoid, "tanh": np.tanh(x), "gelu_tanh": x / 2 * (1 + np.tanh(inner))}
    for name, want in known.items():
        got = qgemm.matmul(a, b, scale=1 / 16, out_dtype="f32", activation=name)
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=2e-7, err_msg=name)
    gelu = qgemm.matmul(a, b, scale=1 / 16, out_dtype="f32", activation="gelu")
    np.testing.assert_allclose(gelu, x / 2 * (1 + np.tanh(inner)), atol=1e-3)


def test_relu_of_eight_bits_clamps_at_the_zero_point():
    a, b = np.array([[-5, 5]], np.int8), np.eye(2, dtype=np.int8)
    got = qgemm.matmul(a, b, scale=1, out_zero=10, out_dtype="u8", activation="relu")
    assert got.tolist() == [[10, 15]]


def test_activation_table_is_quantize_of_the_function_of_dequantize():
    q = np.arange(-128, 128).astype(np.int8)
    for name in ("tanh", "hard_swish"):
        table = qgemm.activation_table(name, 0.05, 3, out_scale=0.03, out_zero=-4)
        x = qgemm.dequantize(q, 0.05, 3)
        one = np.ones((1, 1), np.int8)
        y = qgemm.matmul((q.reshape(-1, 1)), one, a_zero=3, scale=0.05, out_dtype="f32", activation=name)
        assert x.shape == q.shape
        np.testing.assert_array_equal(table[q], qgemm.quantize(y.ravel(), 0.03, -4))
    unsigned = qgemm.activation_table("tanh", 0.05, 128, out_scale=0.01, out_zero=128, dtype="u8")
    assert unsigned.dtype == np.uint8 and unsigned[128] == 128


def test_i32_sums_in_place():
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 256, (4, 9), np.uint8), rng.integers(-128, 128, (9, 6), np.int8)
    out = rng.integers(-100, 100, (4, 6), np.int32)
    want = out + sums(a, b)
    assert qgemm.matmul(a, b, residual=out, out=out) is out
    np.testing.assert_array_equal(out, want)
    with pytest.raises(ValueError, match="^residual: "):
        qgemm.matmul(a, b, residual=out.copy(), out=out)


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_residual_in_place(dtype):
    rng = np.random.default_rng(3)
    a, b = rng.integers(-9, 9, (5, 8), np.int8), rng.integers(-9, 9, (8, 3), np.int8)
    out = rng.integers(-50, 50, (5, 3)).astype(dtype)
    real = sums(a, b).astype(np.float32) * np.float32(0.25) + out.astype(np.float32)
    extra = {"residual_scale": 1.0} if dtype == np.int8 else {}
    want = saturated(np.rint(real), 0, np.int8) if dtype == np.int8 else real
    # A view of the same elements is the same residual.
    qgemm.matmul(a, b, scale=0.25, residual=out[:], out=out, **extra)
    np.testing.assert_array_equal(out, want)


def test_packed_b_tells_what_it_is():
    b = qgemm.PackedB(np.zeros((3, 2), np.uint8), activations=np.uint8)
    assert (b.k, b.n, b.shape, b.dtype, b.activations) == (3, 2, (3, 2), "uint8", "uint8")
    assert b.nbytes > 0 and b.kernel in {kernel["name"] for kernel in qgemm.info()["kernels"]}
    assert repr(b) == "<qgemm.PackedB 3x2 of uint8 for uint8>"


@given(matrices(17, 9))
@settings(deadline=None, max_examples=30)
def test_packed_b_unpacks_and_pickles(w):
    import pickle

    b = qgemm.PackedB(w, "u8")
    np.testing.assert_array_equal(b.unpack(), w)
    again = pickle.loads(pickle.dumps(b))
    assert again.activations == "uint8"
    np.testing.assert_array_equal(again.unpack(), w)
