"""ONNX Runtime's CPU kernels.

Its 8-bit kernels for AVX2 and AVX-512 without VNNI saturate 16-bit sums for some types of operands. A probe finds, for
each pair of types, a setting that is exact on this CPU: the default; the session option that ONNX Runtime has for this
(`session.x64quantprecision`); or weights within ±64, with which no 16-bit sum saturates. Whatever the CPU, the whole
range is compared with the ONNX reference evaluator as well.
"""

import functools
import itertools

import numpy as np
import onnxruntime as ort

from cases import Case, as_call, bounds, check, dtype_name, matrix, product, scales, shape, zeros
from onnx_models import model
from qgemm import Call

NAME = "onnxruntime"
PRECISE = "session.x64quantprecision"


def session(proto, precise):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if precise:
        options.add_session_config_entry(PRECISE, "1")
    return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


_sessions = {}


def run(op, inputs, outputs, precise=False, constants=(), domain="", **attributes):
    """The outputs of one node, by name. Sessions of models without constants are reused."""
    given = {name: np.asarray(v) for name, v in inputs.items() if v is not None}
    key = (op, precise, tuple(attributes.items()), tuple(outputs.items()))
    key += tuple((n, v.dtype.str, v.ndim) for n, v in given.items())
    if constants or key not in _sessions:
        made = session(model(op, inputs, outputs, constants, domain, **attributes), precise)
        if not constants:
            _sessions[key] = made
    else:
        made = _sessions[key]
    results = made.run(list(outputs), {n: v for n, v in given.items() if n not in constants})
    return dict(zip(outputs, results, strict=True))


@functools.cache
def exact_setting(a_type, b_type):
    """A setting with exact sums on this CPU: whether PRECISE is set, and the limit of the weights or None."""
    for precise, limit in ((False, None), (True, None), (False, 64), (True, 64)):
        if all(_is_exact(a_type, b_type, precise, limit, *case) for case in itertools.product((0, 1), (0, 1), (1, 8))):
            return precise, limit
    raise RuntimeError(f"{NAME}: no setting gives exact sums for {dtype_name(a_type)} x {dtype_name(b_type)}")


def _is_exact(a_type, b_type, precise, limit, a_end, b_end, rows):
    """Tries constant matrices of the least (end 0) or the greatest (end 1) value."""
    a = np.full((rows, 64), bounds(a_type)[a_end], a_type)
    b = np.full((64, 32), bounds(b_type, limit)[b_end], b_type)
    for constants in ((), ("B",)):
        y = run("MatMulInteger", {"A": a, "B": b}, {"y": np.int32}, precise, constants)["y"]
        if not np.array_equal(y, product(a, 0, b, 0)):
            return False
    return True


def report():
    for types in itertools.product((np.uint8, np.int8), repeat=2):
        precise, limit = exact_setting(*types)
        how = "the full range" if limit is None else f"weights up to ±{limit}"
        how += f", with {PRECISE}" if precise else ", as it comes"
        print(f"{NAME} {ort.__version__}: {dtype_name(types[0])} x {dtype_name(types[1])} is exact on this CPU for {how}")


def operands(rng, a_type, b_type):
    """Random A and B, whether to set PRECISE, and whether B is a constant of the model, which is prepacked then."""
    precise, limit = exact_setting(a_type, b_type)
    m, n, k = shape(rng)
    a, b = matrix(rng, a_type, m, k), matrix(rng, b_type, k, n, limit)
    return a, b, precise, bool(rng.random() < 0.3)


def matmul_integer(a_type, b_type):
    def case(rng):
        a, b, precise, constant = operands(rng, a_type, b_type)
        a_zero = zeros(rng, a_type) if rng.random() < 0.8 else None
        b_zero = None
        if a_zero is not None and rng.random() < 0.8:
            b_zero = zeros(rng, b_type, b.shape[1] if rng.random() < 0.5 else None)
        inputs = {"A": a, "B": b, "a_zero_point": a_zero, "b_zero_point": b_zero}
        constants = [n for n in ("B", "b_zero_point") if constant and inputs[n] is not None]
        expected = run("MatMulInteger", inputs, {"y": np.int32}, precise, constants)
        return Case(as_call("i32", a, b, a_zero, b_zero, b_unpacked=not constant), expected)

    return case


def quantized(rng, a, b, y_type):
    """Zero points of A, B and Y, the exact sums, and scales of A, B and Y. Those of B may be per column."""
    columns = b.shape[1] if rng.random() < 0.5 else None
    a_zero, b_zero = zeros(rng, a.dtype), zeros(rng, b.dtype, columns)
    sums = product(a, a_zero, b, b_zero)
    return a_zero, b_zero, zeros(rng, y_type), sums, *scales(rng, sums, columns)


def qlinear_matmul(a_type, b_type, y_type):
    def case(rng):
        a, b, precise, constant = operands(rng, a_type, b_type)
        a_zero, b_zero, y_zero, _, a_scale, b_scale, y_scale = quantized(rng, a, b, y_type)
        inputs = {
            "A": a, "a_scale": a_scale, "a_zero": a_zero,
            "B": b, "b_scale": b_scale, "b_zero": b_zero,
            "y_scale": y_scale, "y_zero": y_zero,
        }  # fmt: skip
        constants = [n for n in inputs if n != "A"] if constant else ()
        expected = run("QLinearMatMul", inputs, {"y": y_type}, precise, constants)
        call = requantized(a, b, a_zero, b_zero, (a_scale, b_scale, y_scale), y_zero, b_unpacked=not constant)
        other = a_scale * (b_scale / y_scale)
        return Case(call, expected, controls={"a·(b/y)": call.but({"scale": np.atleast_1d(other)})})

    return case


def requantized(a, b, a_zero, b_zero, scales, y_zero, tensors=(), **parameters):
    """A call with 8-bit output. `scales` are those of A, B and Y."""
    names = ("a_scale", "b_scale", "y_scale")
    tensors = {**{n: np.atleast_1d(s) for n, s in zip(names, scales, strict=True)}, **dict(tensors)}
    parameters |= {"zero_point": int(y_zero), "output": dtype_name(y_zero.dtype)}
    return as_call("requantize", a, b, a_zero, b_zero, tensors, **parameters)


def qgemm(a_type, b_type, y_type):
    """QGemm with an i32 bias, alpha and transposed weights. The output is of `y_type`, or f32 if that is None."""

    def case(rng):
        a, b, precise, constant = operands(rng, a_type, b_type)
        a_zero, b_zero, y_zero, sums, a_scale, b_scale, y_scale = quantized(rng, a, b, y_type or np.int8)
        spread = int(np.abs(sums).max()) + 1
        bias = rng.integers(-spread, spread, b.shape[1]).astype(np.int32)
        trans = bool(rng.random() < 0.5)
        inputs = {
            "A": a, "a_scale": a_scale, "a_zero": a_zero,
            "B": np.ascontiguousarray(b.T) if trans else b, "b_scale": b_scale, "b_zero": b_zero,
            "C": bias,
        }  # fmt: skip
        if y_type:
            inputs |= {"y_scale": y_scale, "y_zero": y_zero}
        constants = [n for n in inputs if n != "A"] if constant else ()
        alpha = float(rng.choice([1.0, 0.5, 0.3]))
        attributes = {"transB": int(trans), "alpha": alpha}
        outputs = {"y": y_type or np.float32}
        expected = run("QGemm", inputs, outputs, precise, constants, "com.microsoft", **attributes)
        a_scale = np.float32(alpha) * a_scale
        common = {"b_unpacked": not constant, "b_transposed": trans}
        if y_type:
            by = (a_scale, b_scale, y_scale)
            call = requantized(a, inputs["B"], a_zero, b_zero, by, y_zero, {"bias": bias}, **common)
        else:
            tensors = {"scale": np.atleast_1d(a_scale * b_scale), "bias": bias}
            call = as_call("f32", a, inputs["B"], a_zero, b_zero, tensors, **common)
        return Case(call, expected)

    return case


def matmul_integer_to_float(a_type, b_type):
    def case(rng):
        a, b, precise, constant = operands(rng, a_type, b_type)
        a_zero, b_zero, _, sums, a_scale, b_scale, _ = quantized(rng, a, b, np.int8)
        spread = float(np.abs(sums).max() + 1) * a_scale * float(np.max(b_scale))
        bias = rng.normal(0, spread, b.shape[1]).astype(np.float32)
        inputs = {
            "A": a, "B": b, "a_scale": a_scale, "b_scale": b_scale,
            "a_zero": a_zero, "b_zero": b_zero, "bias": bias,
        }  # fmt: skip
        constants = [n for n in inputs if n not in ("A", "a_scale", "a_zero")] if constant else ()
        expected = run("MatMulIntegerToFloat", inputs, {"y": np.float32}, precise, constants, "com.microsoft")
        tensors = {"scale": np.atleast_1d(a_scale * b_scale), "bias_f32": bias}
        return Case(as_call("f32", a, b, a_zero, b_zero, tensors, b_unpacked=not constant), expected)

    return case


def dynamic_quantize_matmul(b_type):
    def case(rng):
        _, b, precise, constant = operands(rng, np.uint8, b_type)
        k, n = b.shape
        m = shape(rng)[0]
        a = rng.normal(rng.choice([0, 0, 1, -3]), 1, (m, k)) * 2.0 ** rng.uniform(-10, 10)
        a = a.astype(np.float32) * (rng.random() > 0.05)
        columns = n if rng.random() < 0.5 else None
        b_zero = zeros(rng, b_type, columns)
        b_scale = np.exp2(rng.uniform(-10, 0, columns)).astype(np.float32)
        bias = (rng.normal(0, 100, n) * np.abs(a).max() * np.max(b_scale)).astype(np.float32)
        inputs = {"A": a, "B": b, "b_scale": b_scale, "b_zero": b_zero, "bias": bias}
        constants = [name for name in inputs if name != "A"] if constant else ()
        expected = run("DynamicQuantizeMatMul", inputs, {"y": np.float32}, precise, constants, "com.microsoft")
        tensors = {"scale": np.atleast_1d(b_scale), "bias_f32": bias}
        return Case(as_call("dynamic_gemm", a, b, None, b_zero, tensors, b_unpacked=not constant), expected)

    return case


def reals(rng):
    """A vector for dynamic quantization: of any range, of one sign or two, constant, zero, or on ties."""
    count = int(np.exp(rng.uniform(0, np.log(20000))))
    spread = 2.0 ** rng.uniform(-20, 20)
    kind = rng.integers(6)
    if kind == 0:
        x = np.full(count, rng.choice([0.0, -0.0, spread, -spread]))
    elif kind == 1:
        x = np.rint(rng.uniform(0, 510, count)) / 2  # with 0 and 255 among them the scale is 1, and halves are ties
        x = np.concatenate([x, [0, 255]]) - rng.choice([0, 0.5, 127.5, 128, 255])
    elif kind == 2:
        x = np.abs(rng.normal(0, spread, count)) * rng.choice([-1, 1])
    else:
        x = rng.normal(rng.choice([0, 0, spread]), spread, count)
    return x.astype(np.float32)


def dynamic_quantize_linear(rng):
    x = reals(rng)
    outputs = {"y": np.uint8, "scale": np.float32, "zero_point": np.uint8}
    results = run("DynamicQuantizeLinear", {"x": x}, outputs)
    expected = {
        "y": results["y"],
        "scale": np.atleast_1d(results["scale"]),
        "zero_point": np.atleast_1d(results["zero_point"]).astype(np.int32),
    }
    return Case(Call("dynamic_quantize_linear", {"x": x}), expected)


for a_type, b_type in itertools.product((np.uint8, np.int8), repeat=2):
    types = f"{dtype_name(a_type)} x {dtype_name(b_type)}"
    check(NAME, f"MatMulInteger {types}", "run_i32")(matmul_integer(a_type, b_type))
# ONNX Runtime has kernels for these types: outputs are of the type of A, and a signed A needs a signed B.
for a_type, b_type in ((np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8)):
    types = f"{dtype_name(a_type)} x {dtype_name(b_type)}"
    to = f"{types} -> {dtype_name(a_type)}"
    check(NAME, f"QLinearMatMul {to}", "Requantize, (sa·sb)/sy")(qlinear_matmul(a_type, b_type, a_type))
    check(NAME, f"QGemm {to}", "Requantize, ((alpha·sa)·sb)/sy", 0.7)(qgemm(a_type, b_type, a_type))
    check(NAME, f"QGemm {types} -> f32", "Dequantize, (alpha·sa)·sb", 0.7)(qgemm(a_type, b_type, None))
    check(NAME, f"MatMulIntegerToFloat {types}", "Dequantize with bias, sa·sb", 0.7)(
        matmul_integer_to_float(a_type, b_type)
    )
for b_type in (np.uint8, np.int8):
    name = f"DynamicQuantizeMatMul f32 x {dtype_name(b_type)}"
    check(NAME, name, "DynamicGemm, asymmetric, per_tensor", 0.7)(dynamic_quantize_matmul(b_type))
check(NAME, "DynamicQuantizeLinear", "dynamic_quantize_linear")(dynamic_quantize_linear)
