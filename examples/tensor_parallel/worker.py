#!/usr/bin/env python3
"""One process of a group: computes its part of all layers. Process 0 writes the outputs and what they took to a file.

    mpirun -n 2 python worker.py --backend mpi -k 4096 -n 4096 --folder results
"""

import argparse
import json
import pathlib
import time
from collections.abc import Callable

import numpy as np
import qgemm

from communicator import BACKENDS, Counted
from float_layer import FloatByColumns, FloatByRows, FloatMlp
from layer import ByColumns, ByRows, Floats, Mlp, share

Layer = Callable[[Floats], Floats]


def layers(group: Counted, k: int, n: int, seed: int) -> tuple[dict[str, tuple[Layer, slice]], dict[str, Layer]]:
    """The split layers by name, each with the columns of x that it takes, and the library's calls on one process."""
    rng = np.random.default_rng(seed)
    w, w2 = (rng.standard_normal(shape, np.float32) / np.float32(shape[0] ** 0.5) for shape in ((k, n), (n, k)))
    bias, bias2 = (rng.standard_normal(count, np.float32) for count in (n, k))
    rows, columns = (share(count, group.rank, group.size) for count in (k, n))
    whole, wc, wr, bc = slice(0, k), w[:, columns], w[rows], bias[columns]
    split: dict[str, tuple[Layer, slice]] = {
        "by columns": (ByColumns(group, wc, bc, n, "gelu"), whole),
        "by rows": (ByRows(group, wr, bias, k, "gelu"), rows),
        "MLP": (Mlp(group, wc, bc, w2[columns], bias2, n), whole),
        "by columns, float32": (FloatByColumns(group, wc, bc, n), whole),
        "by rows, float32": (FloatByRows(group, wr, bias), rows),
        "MLP, float32": (FloatMlp(group, wc, bc, w2[columns], bias2, n), whole),
    }
    if group.rank != 0:
        return split, {}
    (q, scale), (q2, scale2) = qgemm.quantize_columns(w), qgemm.quantize_columns(w2)
    b, b2 = qgemm.PackedB(q), qgemm.PackedB(q2)

    def one(x: Floats) -> Floats:
        return qgemm.dynamic_matmul(x, b, scale, bias, activation="gelu")

    def two(x: Floats) -> Floats:
        return qgemm.dynamic_matmul(one(x), b2, scale2, bias2)

    return split, {"by columns": one, "by rows": one, "MLP": two}


def least(group: Counted, call: Callable[[], Floats], repeats: int) -> float:
    """The least seconds of a call, from all processes' start to the end of the last."""
    times = []
    for _ in range(repeats):
        group.barrier()
        start = time.perf_counter()
        call()
        group.barrier()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=BACKENDS, default="alone")
    parser.add_argument("-k", type=int, required=True, help="inputs of a layer")
    parser.add_argument("-n", type=int, required=True, help="outputs of a layer")
    parser.add_argument("--repeats", type=int, default=1, help="calls, of which the fastest counts [default: 1]")
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="of the results")
    arguments = parser.parse_args()
    k, n = arguments.k, arguments.n
    group = Counted(BACKENDS[arguments.backend]())
    split, alone = layers(group, k, n, seed=7)
    rng = np.random.default_rng(8)
    outputs, taken, equal = {}, {}, {}
    for m in (1, 128):
        x = rng.standard_normal((m, k), np.float32)
        for name, (layer, columns) in split.items():
            part = np.ascontiguousarray(x[:, columns])
            group.bytes = 0
            key = f"{name} | {m}"
            outputs[key] = layer(part)
            bytes_moved = group.bytes
            taken[key] = [least(group, lambda: layer(part), arguments.repeats), bytes_moved]
            if name in alone:
                equal[key] = outputs[key].tobytes() == alone[name](x).tobytes()
    if group.rank == 0:
        file = arguments.folder / f"{arguments.backend}-{k}x{n}-{group.size}"
        np.savez(file.with_suffix(".npz"), **outputs)
        found = {"backend": arguments.backend, "k": k, "n": n, "size": group.size, "taken": taken, "equal": equal}
        file.with_suffix(".json").write_text(json.dumps(found))
    group.barrier()


if __name__ == "__main__":
    main()
