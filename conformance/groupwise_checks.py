"""Group-wise weights: dequantized as the software of their formats does it, bit for bit.

GGUF by the package `gguf`; ONNX by ONNX Runtime's MatMulNBits of an identity matrix in f32; GPTQ and AWQ by their
published packing, written again here, since their packages need a GPU.
"""

import gguf
import numpy as np

from cases import Case, check
from onnxruntime_checks import run
from qgemm import Call

GGUF_TYPES = {
    "q4_0": gguf.GGMLQuantizationType.Q4_0,
    "q4_1": gguf.GGMLQuantizationType.Q4_1,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}


def report():
    print(f"gguf: {', '.join(GGUF_TYPES)}; GPTQ and AWQ: their packing in numpy")


def call(w_format, k, n, bits, group, tensors, **parameters):
    parameters |= {"format": w_format, "k": k, "n": n, "bits": bits, "group": group}
    return Call("dequantize_groups", tensors, parameters)


def half_scales(rng, *shape):
    """Random half-precision scales of either sign, some of them subnormal or 0."""
    scales = (rng.normal(0, 1, shape) * 2.0 ** rng.integers(-20, 4, shape)).astype(np.float16)
    return np.where(rng.random(shape) < 0.02, np.float16(0), scales)


def gguf_case(name):
    def case(rng):
        n, blocks = int(rng.integers(1, 70)), int(rng.integers(1, 12))
        kind = GGUF_TYPES[name]
        size = gguf.GGML_QUANT_SIZES[kind][1]
        b = rng.integers(0, 256, (n, blocks, size), dtype=np.uint8)
        numbers = {"q4_0": 1, "q4_1": 2, "q8_0": 1}[name]
        b[:, :, : 2 * numbers] = half_scales(rng, n, blocks, numbers).view(np.uint8)
        w = gguf.dequantize(b.reshape(n, -1), kind)
        bits = 8 if name == "q8_0" else 4
        made = call(name, 32 * blocks, n, bits, 32, {"b": b.reshape(-1)})
        wrong = {}
        if bits == 4:
            # Neighbouring nibbles as neighbouring values, as other formats have them.
            codes = b[:, :, 2 * numbers :]
            nibbles = np.stack([codes & 15, codes >> 4], -1).reshape(n, blocks, 32)
            swapped = b.copy()
            swapped[:, :, 2 * numbers :] = nibbles[:, :, :16] | nibbles[:, :, 16:] << 4
            wrong["nibbles in pairs"] = made.but({"b": swapped.reshape(-1)})
        else:
            wrong["another sign"] = made.but({"b": (b ^ np.uint8(0x80)).reshape(-1)})
        return Case(made, {"w": np.ascontiguousarray(w.T)}, controls=wrong)

    return case


for name in GGUF_TYPES:
    check("gguf", f"dequantize {name.upper()}", f"`from_gguf`, {name.upper()}")(gguf_case(name))


@check("onnxruntime", "MatMulNBits, identity, f32", "`from_onnx`", 0.5)
def onnx(rng):
    bits = int(rng.choice([4, 8]))
    block = int(rng.choice([16, 32, 64, 128, 256]))
    k, n = int(rng.integers(1, 300)), int(rng.integers(1, 40))
    blocks = -(-k // block)
    b = rng.integers(0, 256, (n, blocks, block * bits // 8), dtype=np.uint8)
    scales = rng.normal(0, 0.1, (n, blocks)).astype(np.float32)
    zeros = rng.integers(0, 256, (n, -(-blocks * bits // 8)), dtype=np.uint8) if rng.random() < 0.7 else None
    inputs = {"A": np.eye(k, dtype=np.float32), "B": b, "S": scales.reshape(-1), "Z": None if zeros is None else zeros.reshape(-1)}
    constants = tuple(name for name in ("B", "S", "Z") if inputs[name] is not None)
    y = run("MatMulNBits", inputs, {"Y": np.float32}, constants=constants, domain="com.microsoft",
            K=k, N=n, bits=bits, block_size=block, accuracy_level=0)["Y"]
    tensors = {"b": b.reshape(-1), "scales": scales}
    if zeros is not None:
        tensors["zeros"] = zeros.reshape(-1)
    made = call("onnx", k, n, bits, block, tensors)
    controls = {}
    if zeros is not None:
        controls["other zero points"] = made.but({"zeros": np.roll(zeros.reshape(-1), 1)})
    # A product with 0 and 1 adds zeros to a value, which makes 0 of -0.
    return Case(made, {"w": y}, {"w": y != 0}, controls)


def pack(codes, axis, order):
    """Codes of 4 or 8 bits, 32 / bits of them to an integer along an axis, those at `order` from the lowest."""
    bits = 32 // len(order)
    codes = np.moveaxis(codes.astype(np.uint32), axis, -1)
    codes = codes.reshape(*codes.shape[:-1], -1, len(order))
    packed = np.zeros(codes.shape[:-1], np.uint32)
    for place, column in enumerate(order):
        packed |= codes[..., column] << np.uint32(bits * place)
    return np.ascontiguousarray(np.moveaxis(packed, -1, axis)).view(np.uint8).reshape(-1)


def grouped(rng, bits, n_step):
    """K, N, the group size, and random codes, scales and zero points."""
    group = int(rng.choice([32, 64, 128]))
    k, n = group * int(rng.integers(1, 5)), n_step * int(rng.integers(1, 12))
    codes = rng.integers(0, 1 << bits, (k, n))
    zeros = rng.integers(1, 1 << bits, (k // group, n))
    return k, n, group, codes, half_scales(rng, k // group, n), zeros


def dequantized(codes, scales, zeros, group):
    """In the order of operations of GPTQ's and AWQ's own code, in f32: scale times the difference."""
    difference = codes - np.repeat(zeros, group, 0)
    return np.repeat(scales.astype(np.float32), group, 0) * difference.astype(np.float32)


@check("GPTQ", "qweight, qzeros, scales, g_idx", "`from_gptq`")
def gptq(rng):
    bits = int(rng.choice([4, 8]))
    k, n, group, codes, scales, zeros = grouped(rng, bits, 32 // bits)
    less_one = bool(rng.random() < 0.5)
    order = range(32 // bits)
    tensors = {
        "b": pack(codes, 0, order),
        "zeros": pack(zeros - less_one, 1, order),
        "scales": scales,
        "g_idx": (np.arange(k) // group).astype(np.int32),
    }
    made = call("gptq", k, n, bits, group, tensors, zeros_less_one=less_one)
    controls = {"zero points stored otherwise": made.but({"zeros": pack(np.maximum(zeros - 1, 1), 1, order)})}
    return Case(made, {"w": dequantized(codes, scales, zeros, group)}, controls=controls)


@check("AWQ", "qweight, qzeros, scales", "`from_awq`")
def awq(rng):
    k, n, group, codes, scales, zeros = grouped(rng, 4, 8)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    tensors = {"b": pack(codes, 1, order), "zeros": pack(zeros, 1, order), "scales": scales}
    made = call("awq", k, n, 4, group, tensors)
    controls = {"columns in order": made.but({"b": pack(codes, 1, range(8))})}
    return Case(made, {"w": dequantized(codes, scales, zeros, group)}, controls=controls)
