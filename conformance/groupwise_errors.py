"""Errors of products with group-wise weights: qgemm's, ONNX Runtime's MatMulNBits (accuracy_level 4) and ggml's.

Each is compared with f64 over the dequantized weights, on the same inputs. ggml's arithmetic for Q8_0 activations is
computed here in numpy: blocks of 32, f16 scales, integer sums, f32 additions block by block.

    groupwise_errors.py --driver PROGRAM [--cases N] [--seed S]

Fails if qgemm's mean errors exceed those of either, or its greatest by more than 1 %.
"""

import argparse
import sys

import numpy as np

from onnxruntime_checks import run
from qgemm import Call, Qgemm


def draw(rng):
    """Operands of a case: activations like those of models, with outliers in some channels, and random weights."""
    bits, group = int(rng.choice([4, 8])), int(rng.choice([32, 64, 128]))
    m, n = int(rng.integers(1, 20)), int(rng.integers(1, 80))
    k = group * int(rng.integers(1, 1 + 1024 // group))
    a = rng.normal(0, 1, (m, k)) * np.where(rng.random(k) < 0.02, 20, 1)
    blocks = k // group
    b = rng.integers(0, 256, (n, blocks, group * bits // 8), dtype=np.uint8)
    scales = (rng.random((n, blocks)) * 0.01 + 0.001).astype(np.float16).astype(np.float32)
    codes = np.stack([b & 15, b >> 4], -1).reshape(n, k) if bits == 4 else b.reshape(n, k)
    w = (codes.astype(np.float64) - (1 << (bits - 1))) * np.repeat(scales.astype(np.float64), group, 1)
    return bits, group, a.astype(np.float32), b, scales, codes, w.T


def ours(qgemm, bits, group, a, b, scales):
    parameters = {"format": "onnx", "k": a.shape[1], "n": b.shape[0], "bits": bits, "group": group}
    call = Call("groupwise_gemm", {"a": a, "b": b.reshape(-1), "scales": scales}, {**parameters, "activations": "group"})
    return qgemm.run(call)["y"]


def onnxruntime(bits, group, a, b, scales):
    inputs = {"A": a, "B": b, "S": scales.reshape(-1)}
    return run("MatMulNBits", inputs, {"Y": np.float32}, constants=("B", "S"), domain="com.microsoft",
               K=a.shape[1], N=b.shape[0], bits=bits, block_size=group, accuracy_level=4)["Y"]


def ggml(bits, a, scales, codes):
    """Q8_0 activations and weights in blocks of 32, as its formats have them."""
    (m, k), n = a.shape, codes.shape[0]
    blocks = a.reshape(m, -1, 32)
    step = np.abs(blocks).max(-1) / np.float32(127)
    inverse = np.divide(np.float32(1), step, out=np.zeros_like(step), where=step != 0)
    q = np.rint(blocks * inverse[..., None]).astype(np.int64)
    step = step.astype(np.float16).astype(np.float32)
    weights = codes.reshape(n, -1, 32).astype(np.int64) - (1 << (bits - 1))
    total = np.zeros((m, n), np.float32)
    for block in range(k // 32):
        sums = (q[:, block] @ weights[:, block].T).astype(np.float32)
        total += sums * (step[:, block, None] * scales[None, :, block])
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", required=True)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    qgemm, errors = Qgemm(options.driver), {}
    for index in range(options.cases):
        bits, group, a, b, scales, codes, w = draw(np.random.default_rng([options.seed, index]))
        exact = a.astype(np.float64) @ w
        results = {"qgemm": ours(qgemm, bits, group, a, b, scales)}
        results["MatMulNBits"] = onnxruntime(bits, group, a, b, scales)
        if group == 32:
            results["ggml"] = ggml(bits, a, scales, codes)
        for name, y in results.items():
            # In units of the greatest value of the product.
            difference = np.abs(y - exact) / np.abs(exact).max()
            for cases in ("all groups", f"groups of {group}"):
                errors.setdefault((cases, name), []).append((difference.max(), difference.mean()))
    qgemm.close()
    print("| cases | software | greatest error | mean of the greatest of a case | mean error |")
    print("|---|---|---|---|---|")
    figures, failed = {}, False
    for (cases, name), found in sorted(errors.items(), key=lambda item: item[0][0]):
        greatest, mean = np.array(found).T
        figures[cases, name] = (greatest.max(), greatest.mean(), mean.mean())
        print(f"| {cases} ({len(found)}) | {name} | {greatest.max():.8e} | {greatest.mean():.8e} | {mean.mean():.8e} |")
    for (cases, name), theirs in figures.items():
        if name == "ggml" and cases == "all groups":
            continue
        for what, mine, other in zip(("greatest", "mean greatest", "mean"), figures[cases, "qgemm"], theirs):
            # Where both quantize alike, errors differ by the rounding of sums, one way or the other. The greatest is that
            # of one value of all, which a scale of activations in f16 moves as well.
            if mine > other * (1.01 if what == "greatest" else 1 + 1e-6):
                print(f"FAILED {cases}: {what} error {mine:.8e}, of {name} {other:.8e}")
                failed = True
    sys.exit(failed)


main()
