#!/usr/bin/env python3
"""Compares what worker.py wrote for different numbers of processes, and prints digests and times.

    python compare.py FOLDER

Ends with 1 if an 8-bit output has other bytes than with one process, or than the library's call on one process.
"""

import hashlib
import json
import pathlib
import sys
from typing import Any

import numpy as np


def digest(values: np.ndarray) -> str:
    return hashlib.sha256(values.astype("<f4", copy=False).tobytes()).hexdigest()


def compare(runs: list[dict[str, Any]], folder: pathlib.Path) -> bool:
    """Prints the results of one shape for all back-ends and numbers of processes; returns whether they are equal."""
    good, k, n = True, runs[0]["k"], runs[0]["n"]
    outputs = [np.load(folder / f"{run['backend']}-{k}x{n}-{run['size']}.npz") for run in runs]
    first = outputs[0]
    for key in first.files:
        name, m = key.split(" | ")
        print(f"\nK = {k}, N = {n}, M = {m}, {name}: sha256 of the output, values that differ from the first")
        for run, output in zip(runs, outputs):
            differ = int((first[key].view(np.int32) != output[key].view(np.int32)).sum())
            line = f"  {run['backend']:<5} {run['size']}  {digest(output[key])}  {differ} of {output[key].size}"
            if key in run["equal"]:
                good &= differ == 0 and run["equal"][key]
                line += f", {'equal to' if run['equal'][key] else 'DIFFERS FROM'} the library's call"
            print(line)
    return good


def times(runs: list[dict[str, Any]]) -> None:
    """Prints the times of one shape as a table."""
    k, n = runs[0]["k"], runs[0]["n"]
    print(f"\nK = {k}, N = {n}\n")
    print("| layer | back-end | processes | ms, M = 1 | KB | ms, M = 128 | KB |\n|---|---|---|---|---|---|---|")
    for name in dict.fromkeys(key.split(" | ")[0] for key in runs[0]["taken"]):
        for run in runs:
            cells = [run["taken"][f"{name} | {m}"] for m in (1, 128)]
            text = " | ".join(f"{seconds * 1e3:.2f} | {count / 1e3:.1f}" for seconds, count in cells)
            print(f"| {name} | {run['backend']} | {run['size']} | {text} |")


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    runs = [json.loads(file.read_text()) for file in folder.glob("*.json")]
    # One process first: the others are compared with it.
    runs.sort(key=lambda run: (run["k"], run["n"], ["alone", "mpi", "gloo"].index(run["backend"]), run["size"]))
    shapes = dict.fromkeys((run["k"], run["n"]) for run in runs)
    chosen = [[run for run in runs if (run["k"], run["n"]) == shape] for shape in shapes]
    good = [compare(some, folder) for some in chosen]
    for some in chosen:
        times(some)
    many = bool(runs) and max(run["size"] for run in runs) > 1
    if not many or not all(good):
        sys.exit("\nthe 8-bit outputs DIFFER" if many else "there is no result of several processes")
    print("\nall 8-bit outputs are equal")


if __name__ == "__main__":
    main()
