"""`GroupwiseB`: what its constructors read, and its products. Numbers are such that all sums are exact, in any order."""

import numpy as np
import pytest
from formulas import LAYOUTS, strided

import qgemm

K, N, GROUP = 64, 24, 32
GROUPS = K // GROUP


def weights(bits, seed=6, unsigned=True):
    rng = np.random.default_rng(seed)
    top = 1 << bits
    codes = rng.integers(0, top, (K, N), np.uint8)
    zeros = rng.integers(0, top, (GROUPS, N), np.uint8)
    scales = (rng.integers(-255, 256, (GROUPS, N)) / 256).astype(np.float32)
    if not unsigned:
        codes, zeros = ((x.astype(np.int16) - top // 2).astype(np.int8) for x in (codes, zeros))
    return codes, scales, zeros


def values(codes, scales, zeros, minimums=0):
    def spread(x):
        return np.repeat(np.broadcast_to(x, (GROUPS, N)), GROUP, axis=0)

    difference = codes.astype(np.float32) - spread(zeros).astype(np.float32)
    return spread(scales).astype(np.float32) * difference + spread(minimums).astype(np.float32)


def packed_words(codes, bits, axis, order=None):
    """Codes as integers of 32 bits along an axis, the lowest first, or in an order of columns."""
    each = 32 // bits
    codes = np.moveaxis(codes.astype(np.uint32), axis, -1)
    parts = codes.reshape(*codes.shape[:-1], -1, each)
    if order is not None:
        parts = parts[..., order]
    words = (parts << (bits * np.arange(each, dtype=np.uint32))).sum(-1, dtype=np.uint32)
    return np.ascontiguousarray(np.moveaxis(words, -1, axis)).view(np.int32)


def nibbles(codes):
    """Two codes to a byte along the last axis, the low one first."""
    return (codes[..., 0::2] | codes[..., 1::2] << 4).astype(np.uint8)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_plain_matrices(bits, unsigned, layout):
    codes, scales, zeros = weights(bits, unsigned=unsigned)
    big = np.tile(codes, (3, 4))
    codes = strided(layout, big, K, N)
    b = qgemm.GroupwiseB(codes, scales, GROUP, bits, zeros=zeros)
    assert (b.shape, b.bits, b.group, b.dtype) == ((K, N), bits, GROUP, codes.dtype.name)
    assert b.nbytes > 0 and b.kernel in qgemm.info()["groupwise_kernels"]
    np.testing.assert_array_equal(b.codes(), codes)
    np.testing.assert_array_equal(b.dequantize(), values(codes, scales, zeros))
    usual = (1 << bits - 1) if unsigned else 0
    np.testing.assert_array_equal(qgemm.GroupwiseB(codes, scales, GROUP, bits).dequantize(), values(codes, scales, usual))


def test_minimums_and_half_precision():
    codes, scales, _ = weights(4)
    minimums = (scales[::-1] / 2).astype(np.float16)
    b = qgemm.GroupwiseB(codes, scales.astype(np.float16), GROUP, zeros=3, minimums=minimums)
    np.testing.assert_array_equal(b.dequantize(), values(codes, scales.astype(np.float16), 3, minimums))


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    codes, scales, _ = weights(4)
    scales = scales.astype(ml_dtypes.bfloat16)
    b = qgemm.GroupwiseB(codes, scales, GROUP)
    np.testing.assert_array_equal(b.dequantize(), values(codes, scales.astype(np.float32), 8))


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zeros_as", ["none", "packed", "real"])
@pytest.mark.parametrize("flat", [False, True])
def test_onnx(bits, zeros_as, flat):
    codes, scales, zeros = weights(bits)
    b = codes.T.reshape(N, GROUPS, GROUP)
    b = nibbles(b) if bits == 4 else b
    of_columns = np.ascontiguousarray(scales.T)
    given = {
        "none": None,
        "packed": nibbles(zeros.T) if bits == 4 else np.ascontiguousarray(zeros.T),
        "real": zeros.T.astype(np.float32),
    }[zeros_as]
    got = qgemm.GroupwiseB.from_onnx(
        b, of_columns.ravel() if flat else of_columns, given, k=K, block_size=GROUP, bits=bits
    )
    want = values(codes, scales, (1 << bits - 1) if zeros_as == "none" else zeros)
    np.testing.assert_array_equal(got.dequantize(), want)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0"])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_gguf(kind, as_bytes):
    codes, scales, _ = weights(8 if kind == "Q8_0" else 4)
    scales, minimums = scales.astype(np.float16), (scales[::-1] / 4).astype(np.float16)
    blocks = codes.T.reshape(N, GROUPS, GROUP)
    head = [np.ascontiguousarray(scales.T)[..., None].view(np.uint8)]
    if kind == "Q4_1":
        head.append(np.ascontiguousarray(minimums.T)[..., None].view(np.uint8))
    body = blocks if kind == "Q8_0" else blocks[..., :16] | blocks[..., 16:] << 4
    data = np.concatenate([*head, body], axis=-1).reshape(N, -1)
    got = qgemm.GroupwiseB.from_gguf(data.tobytes() if as_bytes else data, kind, (N, K))
    if kind == "Q8_0":
        want = values(codes.view(np.int8), scales, 0)
    else:
        want = values(codes, scales, 8 if kind == "Q4_0" else 0, minimums if kind == "Q4_1" else 0)
    np.testing.assert_array_equal(got.dequantize(), want)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("less_one", [False, True])
def test_gptq(bits, less_one):
    codes, scales, zeros = weights(bits)
    zeros = np.maximum(zeros, 1)
    words = packed_words(codes, bits, axis=0)
    zero_words = packed_words(zeros - less_one, bits, axis=1)
    g_idx = (np.arange(K) // GROUP).astype(np.int32)
    make = lambda g_idx: qgemm.GroupwiseB.from_gptq(  # noqa: E731
        words, zero_words, scales.astype(np.float16), group=GROUP, bits=bits, g_idx=g_idx, zeros_less_one=less_one
    )
    np.testing.assert_array_equal(make(g_idx).dequantize(), values(codes, scales.astype(np.float16), zeros))
    with pytest.raises(ValueError, match="^g_idx: value 0 was 1, must be 0"):
        make(g_idx[::-1])


def test_awq():
    codes, scales, zeros = weights(4)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    got = qgemm.GroupwiseB.from_awq(
        packed_words(codes, 4, 1, order), packed_words(zeros, 4, 1, order), scales, group=GROUP
    )
    np.testing.assert_array_equal(got.dequantize(), values(codes, scales, zeros))


@pytest.mark.parametrize("scheme", ["symmetric", "asymmetric"])
@pytest.mark.parametrize("bits", [4, 8])
def test_quantize(scheme, bits):
    w = np.random.default_rng(7).standard_normal((K, N)).astype(np.float32)
    b = qgemm.GroupwiseB.quantize(w[:, ::-1], bits, GROUP, scheme)
    step = np.ptp(w) / (1 << bits)
    np.testing.assert_allclose(b.dequantize(), w[:, ::-1], atol=step)
    np.testing.assert_array_equal(b.codes() >= (scheme == "symmetric"), True)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("activations", [None, "per_row", "per_row_and_group", "per_row_asymmetric"])
def test_products_of_f32(activations, layout):
    codes, scales, zeros = weights(4)
    b = qgemm.GroupwiseB(codes, scales, GROUP, zeros=zeros)
    # Integers that quantization leaves as they are: the scale of each row and group is 1.
    x = np.random.default_rng(8).integers(-8, 9, (11, 3 * K + 1)).astype(np.float32)
    x[:, ::GROUP] = x[:, 1::GROUP] = x[:, 2::GROUP] = 127
    if activations == "per_row_asymmetric":
        x[:, 3::GROUP] = -128
    x = strided("repeated" if layout == "repeated" else layout, x, 5, K)
    if layout == "steps":
        x = np.ascontiguousarray(x)
        x[:, ::GROUP] = 127
        if activations == "per_row_asymmetric":
            x[:, 1::GROUP] = -128
    if layout == "columns backwards":
        assert (np.abs(x.reshape(5, GROUPS, GROUP)).max(-1) >= 127).all()
    want = x.astype(np.float64) @ values(codes, scales, zeros).astype(np.float64)
    np.testing.assert_array_equal(b.matmul(x, activations=activations), want.astype(np.float32))


def test_products_of_eight_bits_and_stages():
    codes, scales, zeros = weights(4)
    b = qgemm.GroupwiseB(codes, scales, GROUP, zeros=zeros)
    rng = np.random.default_rng(9)
    x = rng.integers(100, 140, (7, K), np.uint8)
    bias, residual = rng.standard_normal(N).astype("f4"), rng.standard_normal((7, N)).astype("f4")
    product = ((x.astype(np.float64) - 120) @ values(codes, scales, zeros)).astype(np.float32)
    rows = (rng.integers(1, 9, (7, 1)) / 8).astype(np.float32)
    out = np.zeros((7, N), np.float32)
    arguments = {"a_zero": 120, "scale": rows, "bias": bias, "residual": residual, "clamp": (None, 50)}
    assert b.matmul(x, out=out, threads=1, **arguments) is out
    np.testing.assert_array_equal(out, np.minimum(product * rows + bias + residual, np.float32(50)))
    got = b.matmul(x, a_zero=np.full(7, 120), scale=1, activation="relu")
    np.testing.assert_array_equal(got, np.maximum(product, 0))


def test_wrong_arguments():
    codes, scales, zeros = weights(4)
    b = qgemm.GroupwiseB(codes, scales, GROUP, zeros=zeros)
    x = np.zeros((2, K), np.float32)
    for error, text, call in [
        (ValueError, "^bits: was 5", lambda: qgemm.GroupwiseB(codes, scales, GROUP, 5)),
        (ValueError, "^group: was -1, must be in", lambda: qgemm.GroupwiseB(codes, scales, -1)),
        (ValueError, "^group: was 7, must be a multiple of 8", lambda: qgemm.GroupwiseB(codes, scales, 7)),
        (ValueError, "^scales: is 2x24, must be 4x24", lambda: qgemm.GroupwiseB(codes, scales, 16)),
        (ValueError, r"^codes: element \(0, ", lambda: qgemm.GroupwiseB(codes + 16, scales, GROUP)),
        (TypeError, "^zeros: is of i8", lambda: qgemm.GroupwiseB(codes, scales, GROUP, zeros=zeros.view("i1"))),
        (TypeError, "^scales: has elements of f", lambda: qgemm.GroupwiseB(codes, scales.astype("f8"), GROUP)),
        (ValueError, "^scheme: ", lambda: qgemm.GroupwiseB.quantize(x, scheme="x")),
        (ValueError, "^kind: was Q2_K", lambda: qgemm.GroupwiseB.from_gguf(b"", "Q2_K", (1, 32))),
        (ValueError, "^blocks: has 1 values", lambda: qgemm.GroupwiseB.from_gguf(b"x", "Q4_0", (1, 32))),
        (ValueError, "^qweight: has 1 dim", lambda: qgemm.GroupwiseB.from_awq(np.zeros(3, "i4"), zeros, scales, group=32)),
        (ValueError, "^b: has 64 rows", lambda: b.matmul(x[:, 1:])),
        (ValueError, "^a_zero: was given", lambda: b.matmul(x, a_zero=1)),
        (ValueError, "^activations: was x", lambda: b.matmul(x, activations="x")),
        (ValueError, "^scale: was not given", lambda: b.matmul(x.astype(np.int8))),
        (TypeError, "^x: has elements of float64", lambda: b.matmul(x.astype(np.float64))),
    ]:
        with pytest.raises(error, match=text):
            call()
