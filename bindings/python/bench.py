"""Products of int8 matrices by qgemm, NumPy and, if it is installed, ONNX Runtime, in one process, calls included.

    python bench.py [--threads N] [--seconds S]

Prints microseconds per call, the least of many runs. NumPy multiplies float32 copies of the matrices, which are made before: its
integer product is printed for the smallest shape only. ONNX Runtime runs MatMulInteger with constant weights.
"""

import argparse
import os
import time

import numpy as np

SHAPES = [(16, 16, 16), (1, 1024, 1024), (64, 768, 768), (512, 512, 512), (1024, 1024, 1024)]


def least(call, seconds):
    """The least time of a call, in microseconds."""
    call()
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-7)
    count = max(1, int(0.01 / once))
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(count):
            call()
        best = min(best, (time.perf_counter() - start) / count)
    return best * 1e6


def onnx_session(b, threads):
    """A session that multiplies by b, or None without ONNX Runtime and onnx."""
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return None
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [None, b.shape[0]])],
        [helper.make_tensor_value_info("c", TensorProto.INT32, [None, b.shape[1]])],
        [numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of each [default: all cores]")
    parser.add_argument("--seconds", type=float, default=0.5, help="seconds per number [default: 0.5]")
    arguments = parser.parse_args()
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        if os.environ.get(name) != str(arguments.threads):
            print(f"NumPy's threads are its own choice: {name} is not {arguments.threads}")
            break
    import qgemm

    rng = np.random.default_rng(0)
    names = ["qgemm i32", "with out=", "to i8", "numpy f32", "numpy i32", "onnxruntime"]
    print(f"{'m k n':<16}" + "".join(f"{name:>13}" for name in names))
    for m, k, n in SHAPES:
        a, b = rng.integers(0, 256, (m, k), np.uint8), rng.integers(-127, 128, (k, n), np.int8)
        packed, threads = qgemm.PackedB(b, "u8"), arguments.threads
        out, scale = np.zeros((m, n), np.int32), np.full(n, 0.001, np.float32)
        af, bf, ai, bi = a.astype(np.float32), b.astype(np.float32), a.astype(np.int32), b.astype(np.int32)
        times = [
            least(lambda: qgemm.matmul(a, packed, threads=threads), arguments.seconds),
            least(lambda: qgemm.matmul(a, packed, out=out, threads=threads), arguments.seconds),
            least(lambda: qgemm.matmul(a, packed, scale=scale, out_dtype="i8", threads=threads), arguments.seconds),
            least(lambda: af @ bf, arguments.seconds),
            least(lambda: ai @ bi, arguments.seconds) if m * k * n < 10**4 else None,
        ]
        # Last, and only while it is measured: threads of a session look for work long after a call.
        session = onnx_session(b, threads)
        if session is not None:
            assert np.array_equal(session.run(None, {"a": a})[0], qgemm.matmul(a, packed))
            times.append(least(lambda: session.run(None, {"a": a}), arguments.seconds))
            del session
        times = ["-" if found is None else f"{found:.2f}" for found in times]
        print(f"{f'{m} {k} {n}':<16}" + "".join(f"{found:>13}" for found in times), flush=True)


if __name__ == "__main__":
    main()
