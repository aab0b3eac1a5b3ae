"""`matmul_batch`, and rows that are picked by index."""

import numpy as np
import pytest
from formulas import sums

import qgemm

RNG = np.random.default_rng(21)


def eight_bits(m, n, dtype=np.int8):
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max, (m, n), dtype, endpoint=True)


def described():
    """Products of all outputs, shapes and types."""
    for turn in range(24):
        m, k, n = (int(size) for size in RNG.integers(0, 40, 3))
        a, b = eight_bits(m, k, (np.int8, np.uint8)[turn % 2]), eight_bits(k, n)
        product = {"a": a, "b": qgemm.PackedB(b) if turn % 3 else b, "a_zero": turn, "b_zero": None}
        kind = turn % 4
        if kind == 0:
            product |= {"bias": RNG.integers(-99, 99, n)}
        elif kind == 1:
            product |= {"scale": RNG.random(n, np.float32) / 500, "out_dtype": "u8", "out_zero": 100}
            product |= {"table": np.arange(256, dtype=np.uint8)[::-1]}
        elif kind == 2:
            product |= {"scale": 0.01, "out_dtype": "f32", "bias": RNG.random(n), "activation": "silu"}
        else:
            product |= {"multipliers": (1 << 30, -8), "rounding": "ruy", "out_dtype": np.int8, "clamp": (-50, 60)}
        yield product


@pytest.mark.parametrize("threads", [None, 1, 2, 7])
def test_each_output_is_that_of_its_product(threads):
    products = list(described())
    outputs = qgemm.matmul_batch(products, threads=threads)
    assert isinstance(outputs, list) and len(outputs) == len(products)
    for got, product in zip(outputs, products, strict=True):
        want = qgemm.matmul(**product)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
    assert qgemm.matmul_batch([]) == []
    (only,) = qgemm.matmul_batch(product for product in products[:1])
    np.testing.assert_array_equal(only, outputs[0])


def test_heads_side_by_side_and_in_place():
    tokens, heads, size = 50, 4, 16
    a, b = eight_bits(tokens, heads * size, np.uint8), [eight_bits(size, size) for _ in range(heads)]
    out = np.full((tokens, heads * size), 3, np.int32)
    part = lambda x, h: x[:, h * size : (h + 1) * size]  # noqa: E731
    products = [
        {"a": part(a, h), "b": b[h], "out": part(out, h), "residual": part(out, h), "a_zero": h}
        for h in range(heads)
    ]
    outputs = qgemm.matmul_batch(products)
    for h in range(heads):
        assert outputs[h] is products[h]["out"]
        np.testing.assert_array_equal(part(out, h), sums(part(a, h), b[h], a_zero=h) + 3)


def test_batches_that_are_refused():
    a, b = eight_bits(6, 10), eight_bits(10, 5)
    out = np.full((6, 8), 77, np.int32)
    shared = np.zeros((6, 10), np.int8)
    good = {"a": a, "b": b, "out": out[:, :5]}
    for error, text, products in [
        (TypeError, "^products: value 1 is of <class 'int'>, must be a dict", [good, 3]),
        (TypeError, r"^products\[1\]: x: is no argument", [good, good | {"x": 1}]),
        (TypeError, r"^products\[1\]: threads: is no argument", [good, {"a": a, "b": b, "threads": 1}]),
        (TypeError, r"^products\[0\]: b: was not given", [{"a": a}]),
        (TypeError, r"^products\[0\]: a: was not given", [{"b": b, "a": None}]),
        (ValueError, r"^products\[1\]: b: has 9 rows", [good, {"a": a, "b": b[:9]}]),
        (ValueError, r"^products\[1\]: out: is 5x6", [good, {"a": a, "b": b, "out": np.zeros((5, 6), "i4")}]),
        (ValueError, r"^products\[1\]: out: overlaps another out", [good, good | {"out": out[:, 3:]}]),
        (
            ValueError,
            r"^products\[1\]: out: overlaps a in memory",
            [{"a": a, "b": b, "scale": 1, "out": shared[:, :5]}, {"a": shared, "b": b}],
        ),
        (TypeError, r"^products\[0\]: rounding: must be a str", [good | {"rounding": 3}]),
    ]:
        with pytest.raises(error, match=text):
            qgemm.matmul_batch(products)
    assert (out == 77).all() and not shared.any()
    # Outputs between the rows of another product's input, which is copied.
    both = np.zeros((6, 15), np.int8)
    both[:, :10] = a
    want = qgemm.matmul(a, b, scale=0.01, out_dtype="i8")
    _, second = qgemm.matmul_batch(
        [{"a": a, "b": b, "scale": 0.01, "out": both[:, 10:]}, {"a": both[:, :10], "b": b}], threads=2
    )
    np.testing.assert_array_equal(both[:, 10:], want)
    np.testing.assert_array_equal(second, sums(a, b))


@pytest.mark.parametrize("taps", [1, 3])
def test_picked_rows(taps):
    source, n = eight_bits(9, 7, np.uint8), 5
    rows = RNG.integers(-1, 9, (20, taps))
    b = eight_bits(7 * taps, n)
    picked = np.where(rows[..., None] < 0, 11, source[rows]).reshape(20, -1)
    given = rows[:, 0] if taps == 1 else rows
    for matrix in (b, qgemm.PackedB(b)):
        got = qgemm.matmul(source, matrix, a_zero=11, rows=given)
        np.testing.assert_array_equal(got, sums(picked, b, a_zero=11))
    got = qgemm.matmul(source, b, rows=given.tolist(), scale=0.01, out_dtype="f32", bias=np.ones(n, "f4"))
    picked = np.where(rows[..., None] < 0, 0, source[rows]).reshape(20, -1)
    np.testing.assert_array_equal(got, qgemm.matmul(picked, b, scale=0.01, out_dtype="f32", bias=np.ones(n, "f4")))
    (got,) = qgemm.matmul_batch([{"a": source, "b": b, "rows": given}])
    np.testing.assert_array_equal(got, sums(picked, b))


@pytest.mark.parametrize("how", [{}, {"asymmetric": True}, {"per_tensor": True}])
@pytest.mark.parametrize("taps", [1, 2])
def test_picked_rows_of_floats(taps, how):
    source = RNG.standard_normal((9, 7), np.float32)
    rows = RNG.integers(-1, 9, (20, taps))
    rows[0], rows[1] = np.arange(taps), -1
    b = eight_bits(7 * taps, 5)
    picked = np.where(rows[..., None] < 0, np.float32(0), source[rows]).reshape(20, -1).astype(np.float32)
    y, s, z = qgemm.dynamic_matmul(source, b, 0.5, rows=rows, return_params=True, **how)
    if "per_tensor" in how:
        # The scale is that of the whole source.
        _, s_of_source, _ = qgemm.dynamic_matmul(source, b[:7], 0.5, return_params=True, **how)
        assert s == s_of_source
        want = sums(np.rint(picked / s), b).astype(np.float32) * np.float32(s[0] * np.float32(0.5))
        np.testing.assert_array_equal(y, want)
    else:
        want, want_s, want_z = qgemm.dynamic_matmul(picked, b, 0.5, return_params=True, **how)
        np.testing.assert_array_equal(y, want)
        np.testing.assert_array_equal(s, want_s)
        np.testing.assert_array_equal(z, want_z)


def test_rows_that_are_refused():
    a, b = eight_bits(6, 10), eight_bits(10, 5)
    for error, text, rows in [
        (ValueError, "^rows: value 1 was 6, must be below 6", [0, 6]),
        (ValueError, "^rows: value 2 was -2", [0, 1, -2]),
        (ValueError, "^rows: has 3 dimensions", np.zeros((2, 2, 2), int)),
        (TypeError, "^rows: has elements of float64", [0.5]),
        (ValueError, "^b: has 10 rows", [[0, 1]]),
        (ValueError, "^(rows|taps): ", np.zeros((2, 0), int)),
        (ValueError, "^rows: has values that do not fit", [2**40]),
    ]:
        with pytest.raises(error, match=text):
            qgemm.matmul(a, b, rows=rows)
        with pytest.raises(error, match=text):
            qgemm.dynamic_matmul(a.astype(np.float32), b, 1, rows=rows)
    with pytest.raises(ValueError, match="^out: is 6x5, must be 2x5"):
        qgemm.matmul(a, b, rows=[0, 1], out=np.zeros((6, 5), np.int32))


def test_errors_of_floats_name_x():
    x, b = np.zeros((2, 10), np.float32), eight_bits(10, 5)
    x[1, 3] = np.nan
    with pytest.raises(ValueError, match=r"^x: element \(1, 3\)"):
        qgemm.dynamic_matmul(x, b, 1)
    with pytest.raises(ValueError, match=r"^x: element \(1, 3\)"):
        qgemm.dynamic_matmul(x, b, 1, per_tensor=True, rows=[0])
    with pytest.raises(ValueError, match=r"^x: element \(1, 3\)"):
        qgemm.GroupwiseB.quantize(np.ones((10, 2), np.float32)).matmul(x)
