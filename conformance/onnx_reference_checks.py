"""The ONNX reference evaluator (numpy).

Its MatMulInteger and DynamicQuantizeLinear compute as qgemm does, in exact integers and in f32. Its QLinearMatMul
multiplies the sum by the scale in f64, adds the zero point, and then rounds half to even. ONNX Runtime and qgemm
multiply in f32, round, and then add. So results differ on ties if the zero point is odd, and where the f32 product is
a tie that the f64 product is only close to. The checks with powers of two as scales expect the other neighbour on ties;
the check with any scale leaves out values close to ties. All other values must be equal.
"""

import itertools

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from cases import Case, as_call, check, dtype_name, matrix, product, scales, shape, zeros
from onnx_models import model
from onnxruntime_checks import reals, requantized
from qgemm import Call

NAME = "onnx.reference"
TYPES = (np.uint8, np.int8)


def report():
    print(f"{NAME}: onnx {onnx.__version__}, numpy {np.__version__}")


def run(op, inputs, outputs):
    given = {name: np.asarray(v) for name, v in inputs.items() if v is not None}
    results = ReferenceEvaluator(model(op, inputs, outputs)).run(list(outputs), given)
    return dict(zip(outputs, results, strict=True))


def matmul_integer(a_type, b_type):
    def case(rng):
        m, n, k = shape(rng)
        a, b = matrix(rng, a_type, m, k), matrix(rng, b_type, k, n)
        a_zero = zeros(rng, a_type, m if rng.random() < 0.5 else None)
        b_zero = zeros(rng, b_type, n if rng.random() < 0.5 else None)
        # The evaluator subtracts by numpy's broadcasting, so zero points per row must be a column.
        inputs = {"A": a, "B": b, "az": a_zero[:, None] if a_zero.ndim else a_zero, "bz": b_zero}
        return Case(as_call("i32", a, b, a_zero, b_zero), run("MatMulInteger", inputs, {"y": np.int32}))

    return case


def qlinear_matmul(kind):
    """`even` and `odd`: scales are powers of two, and the output's zero point is even or odd; `any`: no limits."""

    def case(rng):
        a_type, b_type, y_type = rng.choice(TYPES), rng.choice(TYPES), rng.choice(TYPES)
        m, n, k = shape(rng)
        a, b = matrix(rng, a_type, m, k), matrix(rng, b_type, k, n)
        columns = n if rng.random() < 0.5 else None
        a_zero, b_zero, y_zero = zeros(rng, a_type), zeros(rng, b_type, columns), zeros(rng, y_type)
        sums = product(a, a_zero, b, b_zero)
        a_scale, b_scale, y_scale = scales(rng, sums, columns)
        if kind != "any":
            a_scale, b_scale, y_scale = (np.exp2(np.rint(np.log2(s))) for s in (a_scale, b_scale, y_scale))
            y_zero = (y_zero // 2 * 2 + (kind == "odd")).astype(y_type)
        inputs = {
            "A": a, "a_scale": a_scale, "a_zero": a_zero,
            "B": b, "b_scale": b_scale, "b_zero": b_zero,
            "y_scale": y_scale, "y_zero": y_zero,
        }  # fmt: skip
        expected = run("QLinearMatMul", inputs, {"y": y_type})
        scale = a_scale * b_scale / y_scale
        call = requantized(a, b, a_zero, b_zero, (a_scale, b_scale, y_scale), y_zero)
        exact = sums * np.float64(scale)
        if kind == "any":
            # In f32 the sum and the product are rounded. That moves a value across a tie only if it is this close.
            distance = np.abs(np.abs(exact - np.rint(exact)) - 0.5)
            return Case(call, expected, compared={"y": distance > np.abs(exact) * 2.0**-23})
        compared = {"y": np.abs(sums) <= 2**24}
        if kind == "even":
            return Case(call, expected, compared)
        # On a tie, rounding before an odd number is added goes to the other neighbour than rounding after it.
        info = np.iinfo(y_type)
        ours = np.clip(np.rint(exact) + y_zero, info.min, info.max).astype(y_type)
        ties = exact - np.floor(exact) == 0.5
        return Case(call, {"y": np.where(ties, ours, expected["y"])}, compared, {"ties as they come": expected})

    return case


def dynamic_quantize_linear(rng):
    x = reals(rng)
    if not x.any():
        x[0] = 1  # for zeros alone its scale is 1/255, that of ONNX Runtime and qgemm is 1
    results = run("DynamicQuantizeLinear", {"x": x}, {"y": np.uint8, "scale": np.float32, "zero": np.uint8})
    expected = {
        "y": results["y"],
        "scale": np.atleast_1d(results["scale"]),
        "zero_point": np.atleast_1d(results["zero"]).astype(np.int32),
    }
    return Case(Call("dynamic_quantize_linear", {"x": x}), expected)


for a_type, b_type in itertools.product(TYPES, repeat=2):
    types = f"{dtype_name(a_type)} x {dtype_name(b_type)}"
    check(NAME, f"MatMulInteger {types}", "run_i32", 0.5)(matmul_integer(a_type, b_type))
check(NAME, "QLinearMatMul, scale 2^n, zero point even", "Requantize, (sa·sb)/sy")(qlinear_matmul("even"))
check(NAME, "QLinearMatMul, scale 2^n, zero point odd", "the same, but for ties")(qlinear_matmul("odd"))
check(NAME, "QLinearMatMul, any scale", "the same, but near ties")(qlinear_matmul("any"))
check(NAME, "DynamicQuantizeLinear", "dynamic_quantize_linear", 0.7)(dynamic_quantize_linear)
