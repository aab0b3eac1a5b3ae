"""The arrays that calls take and refuse."""

import array

import numpy as np
import pytest
from formulas import LAYOUTS, strided, sums

import qgemm

RNG = np.random.default_rng(4)
A = RNG.integers(-128, 128, (6, 10), np.int8)
B = RNG.integers(-128, 128, (10, 5), np.int8)


class Tensor:
    """A tensor of another library: it has DLPack and nothing else."""

    def __init__(self, values):
        self.values = values

    def __dlpack__(self, **arguments):
        return self.values.__dlpack__(**arguments)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


def test_tensors_and_buffers():
    want = sums(A, B)
    np.testing.assert_array_equal(qgemm.matmul(Tensor(A), Tensor(B)), want)
    np.testing.assert_array_equal(qgemm.matmul(memoryview(A), qgemm.PackedB(Tensor(B))), want)
    flat = array.array("b", B.ravel().tolist())
    np.testing.assert_array_equal(qgemm.matmul(A, memoryview(flat).cast("B").cast("b", (10, 5))), want)
    read_only = memoryview(A.tobytes()).cast("b", A.shape)
    np.testing.assert_array_equal(qgemm.matmul(read_only, B), want)


def test_a_tensor_as_output():
    out = np.zeros((6, 5), np.int32)
    tensor = Tensor(out)
    if np.from_dlpack(tensor).flags.writeable:
        assert qgemm.matmul(A, B, out=tensor) is tensor
        np.testing.assert_array_equal(out, sums(A, B))
    else:
        with pytest.raises(ValueError, match="^out: is read-only"):
            qgemm.matmul(A, B, out=tensor)


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    weight = torch.from_numpy(B.T.copy())
    packed = qgemm.PackedB(weight.T)
    np.testing.assert_array_equal(qgemm.matmul(torch.from_numpy(A), packed), sums(A, B))
    np.testing.assert_array_equal(qgemm.matmul(torch.from_numpy(A)[::2], weight.T), sums(A[::2], B))
    picked = qgemm.matmul(torch.from_numpy(A), packed, rows=torch.tensor([5, 0, -1]), bias=torch.arange(5))
    np.testing.assert_array_equal(picked, sums(np.vstack([A[[5, 0]], 0 * A[:1]]), B, bias=np.arange(5)))
    x = torch.arange(60, dtype=torch.float32).reshape(6, 10).sin()
    want = qgemm.dynamic_matmul(x.numpy(), packed, 0.5)
    np.testing.assert_array_equal(qgemm.dynamic_matmul(x, packed, torch.tensor(0.5)), want)
    np.testing.assert_array_equal(qgemm.GroupwiseB.quantize(x.T).codes(), qgemm.GroupwiseB.quantize(x.numpy().T).codes())
    out = torch.zeros((6, 5), dtype=torch.int32)
    if np.from_dlpack(out).flags.writeable:
        (got,) = qgemm.matmul_batch([{"a": torch.from_numpy(A), "b": packed, "out": out}])
        assert got is out
        np.testing.assert_array_equal(out.numpy(), sums(A, B))


def test_read_only_arrays():
    a, b = A.copy(), B.copy()
    a.flags.writeable = b.flags.writeable = False
    np.testing.assert_array_equal(qgemm.matmul(a, b), sums(A, B))


def test_unaligned_and_swapped_arrays():
    raw = np.zeros(4 * 6 + 1, np.uint8)
    x = raw[1:].view(np.float32).reshape(2, 3)
    x[:] = [[1, 2, 3], [4, 5, 6]]
    q, _ = qgemm.quantize_rows(x)
    np.testing.assert_array_equal(q, qgemm.quantize_rows(x.copy())[0])
    np.testing.assert_array_equal(qgemm.quantize(x, 0.5), qgemm.quantize(x.copy(), 0.5))
    with pytest.raises(TypeError, match="^x: has elements of >f4"):
        qgemm.quantize(x.astype(">f4"), 0.5)


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "repeated"])
@pytest.mark.parametrize("dtype", [np.int32, np.int8, np.float32])
def test_outputs_with_any_strides(layout, dtype):
    big = np.full((13, 16), 77, dtype)
    out = strided(layout, big, 6, 5)
    extra = {} if dtype == np.int32 else {"scale": 0.01}
    want = qgemm.matmul(A, B, out_dtype=dtype, **extra)
    assert qgemm.matmul(A, B, out=out, **extra) is out
    np.testing.assert_array_equal(out, want)
    if layout in ("steps", "backwards", "columns backwards"):
        # Nothing but the output is written.
        assert (big == 77).sum() >= big.size - out.size


def test_an_output_whose_elements_coincide_is_refused():
    out = np.lib.stride_tricks.as_strided(np.zeros(5, np.int32), (6, 5), (0, 4))
    with pytest.raises(ValueError, match="^out: .*overlap"):
        qgemm.matmul(A, B, out=out)


def test_an_output_between_the_rows_of_an_input():
    both = np.zeros((6, 15), np.int8)
    both[:, :10] = A
    want = qgemm.matmul(A, B, scale=0.01, out_dtype="i8")
    qgemm.matmul(both[:, :10], B, scale=0.01, out=both[:, 10:])
    np.testing.assert_array_equal(both[:, 10:], want)
    np.testing.assert_array_equal(both[:, :10], A)


def test_overlaps_are_refused():
    memory = np.zeros((10, 10), np.int8)
    before = memory.copy()
    for argument, call in {
        "a": lambda: qgemm.matmul(memory[:6], B, scale=1, out=memory[5:, :5][::-1][:5]),
        "b": lambda: qgemm.matmul(A, memory[:, :5], scale=1, out=memory[:6, 4:9]),
        "residual": lambda: qgemm.matmul(
            A, B, scale=1, residual=memory[1:7, :5], residual_scale=1, out=memory[:6, :5]
        ),
    }.items():
        with pytest.raises(ValueError, match=f"^out: overlaps {argument} "):
            call()
    np.testing.assert_array_equal(memory, before)
    x = np.zeros((4, 4), np.float32)
    with pytest.raises(ValueError, match="^out: overlaps x "):
        qgemm.dynamic_matmul(x, np.eye(4, dtype=np.int8), 1, out=x)
    with pytest.raises(ValueError, match="^out: overlaps x "):
        qgemm.GroupwiseB.quantize(np.eye(4, dtype=np.float32)).matmul(x, out=x)


def test_outputs_that_are_refused():
    frozen = np.zeros((6, 5), np.int32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="^out: is read-only, must be writable"):
        qgemm.matmul(A, B, out=frozen)
    with pytest.raises(ValueError, match="^out: is 5x6, must be 6x5"):
        qgemm.matmul(A, B, out=np.zeros((5, 6), np.int32))
    with pytest.raises(ValueError, match="^out: has 1 dimensions"):
        qgemm.matmul(A, B, out=np.zeros(30, np.int32))
    with pytest.raises(TypeError, match="^out: has elements of int64"):
        qgemm.matmul(A, B, out=np.zeros((6, 5), np.int64))
    with pytest.raises(TypeError, match="^out: has elements of int32, must be of int8"):
        qgemm.matmul(A, B, scale=1, out_dtype="i8", out=np.zeros((6, 5), np.int32))


@pytest.mark.parametrize(
    ("error", "text", "arguments"),
    [
        (ValueError, "^b: has 9 rows, must have as many as a has columns", {"b": B[:9]}),
        (ValueError, "^a: has 1 dimensions, must have 2", {"a": A[0]}),
        (TypeError, "^a: has elements of float32, must be of int8 or uint8", {"a": A.astype(np.float32)}),
        (TypeError, "^a: has elements of bool", {"a": A > 0}),
        (TypeError, "^a: is of <class 'list'>, must be an array", {"a": A.tolist()}),
        (TypeError, "^b: is of <class 'NoneType'>", {"b": None}),
        (TypeError, "^b: is a GroupwiseB", {"b": qgemm.GroupwiseB.quantize(np.zeros((10, 5), np.float32))}),
        (ValueError, "^a_zero: has 5 values, must have 6", {"a_zero": [0] * 5}),
        (ValueError, "^a_zero: was 2147483648, must be in", {"a_zero": 2**31}),
        (ValueError, "^a_zero: was 1.*, must be in", {"a_zero": 10**30}),
        (TypeError, "^a_zero: ", {"a_zero": 0.5}),
        (TypeError, "^a_zero: has elements of float64", {"a_zero": np.zeros(6)}),
        (TypeError, "^b_zero: ", {"b_zero": "x"}),
        (ValueError, "^bias: has values that do not fit i32", {"bias": np.full(5, 2**40)}),
        (ValueError, "^bias: has 4 values, must have 5", {"bias": [1] * 4}),
        (TypeError, "^bias: has real numbers", {"bias": [0.5] * 5}),
        (ValueError, "^scale: was given, must not be for an output of int32", {"scale": 1}),
        (ValueError, "^scale: was not given, must be for an output of int8", {"out_dtype": "i8"}),
        (ValueError, "^scale: value 0 was -1", {"out_dtype": "i8", "scale": -1}),
        (ValueError, "^scale: has 4 values", {"out_dtype": "f32", "scale": [1] * 4}),
        (ValueError, "^scale: has the shape", {"out_dtype": "f32", "scale": np.ones((6, 5))}),
        (ValueError, "^out_dtype: was int16, must be int32", {"out_dtype": "int16"}),
        (ValueError, "^out_dtype: was abacus, must be int32", {"out_dtype": "abacus"}),
        (ValueError, "^clamp: was 5,1", {"out_dtype": "i8", "scale": 1, "clamp": (5, 1)}),
        (TypeError, "^clamp: ", {"out_dtype": "i8", "scale": 1, "clamp": 5}),
        (ValueError, "^activation: was gelu", {"out_dtype": "i8", "scale": 1, "activation": "gelu"}),
        (ValueError, "^activation: was x, must be relu", {"out_dtype": "f32", "scale": 1, "activation": "x"}),
        (ValueError, "^residual: is 6x4", {"out_dtype": "f32", "scale": 1, "residual": np.ones((6, 4), "f4")}),
        (TypeError, "^residual: has elements of", {"out_dtype": "f32", "scale": 1, "residual": A[:, :5]}),
        (ValueError, "^residual_scale: was not", {"out_dtype": "i8", "scale": 1, "residual": A[:, :5]}),
        (ValueError, "^out_zero: was", {"out_dtype": "i8", "scale": 1, "out_zero": 2**30}),
        (ValueError, "^table: must have 256", {"out_dtype": "i8", "scale": 1, "table": np.zeros(9, np.int8)}),
        (TypeError, "^table: has elements", {"out_dtype": "i8", "scale": 1, "table": np.zeros(256, "u1")}),
        (ValueError, "^factors: was -1", {"out_dtype": "i8", "factors": -1.0}),
        (ValueError, "^scale: must be the only one", {"out_dtype": "i8", "factors": 1.0, "scale": 1}),
        (TypeError, "^multipliers: ", {"out_dtype": "i8", "multipliers": 3}),
        (ValueError, "^threads: was -1, must be in", {"threads": -1}),
        (TypeError, "^threads: is of", {"threads": 1.5}),
        (ValueError, "^rounding: was x", {"out_dtype": "i8", "multipliers": (1 << 30, 0), "rounding": "x"}),
    ],
)
def test_wrong_arguments(error, text, arguments):
    with pytest.raises(error, match=text):
        qgemm.matmul(**({"a": A, "b": B} | arguments))


class Meddler(Tensor):
    """A tensor that changes an array which the call has looked at already."""

    def __init__(self, values, array, meddle):
        super().__init__(values)
        self.array, self.meddle = array, meddle

    def __dlpack__(self, **arguments):
        self.meddle(self.array)
        return super().__dlpack__(**arguments)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_arrays_that_change_shape_during_a_call():
    def transpose(x):
        x.shape = x.shape[::-1]

    a, out = A.copy(), np.zeros((6, 5), np.int32)
    np.testing.assert_array_equal(qgemm.matmul(a, Meddler(B, a, transpose)), sums(A, B))
    qgemm.matmul(A, Meddler(B, out, transpose), out=out)
    np.testing.assert_array_equal(out.reshape(6, 5), sums(A, B))


def test_too_little_memory():
    huge = np.broadcast_to(np.int8(1), (1 << 40, 1 << 10))
    with pytest.raises(MemoryError, match="^packed b: needs"):
        qgemm.PackedB(huge)
    tall = np.broadcast_to(np.int8(1), (1 << 40, 1))
    with pytest.raises(MemoryError):
        qgemm.matmul(tall, np.ones((1, 1 << 10), np.int8))


def test_the_environment_is_checked():
    import subprocess
    import sys

    code = "import qgemm; qgemm.info()"
    ran = subprocess.run(
        [sys.executable, "-c", code], env={"QGEMM_ISA": "abacus"}, capture_output=True, text=True, check=False
    )
    assert "ValueError: QGEMM_ISA: was 'abacus'" in ran.stderr
