#!/usr/bin/env python3
"""Compares the forms of the model with each other and with ONNX Runtime: similarity to float32, speed, memory.

    python compare.py [--accuracy] [--threads 1,2] [--seconds 1] [--rounds 2]

Each run of a form is a process of its own. Ends with 1 if an embedding is further from that of float32 than it may be.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

# This process imports no more than it needs before all others have run: a new process counts its parent's memory at that
# moment as its own peak.

HERE = pathlib.Path(__file__).resolve().parent
NAMES = {
    "f32": "float32, NumPy",
    "onnx-f32": "float32, ONNX Runtime",
    "onnx-int8": "8 bits, ONNX Runtime",
    "int8": "8 bits, qgemm",
    "int4-nearest": "4 bits, rounded to nearest, qgemm",
    "int4": "4 bits, qgemm",
}
# The least cosines to float32 of a form: of the mean over all sentences, and of each.
LEAST = {"onnx-f32": (0.9999, 0.9999), "int8": (0.99, 0.99), "int4": (0.98, 0.97)}


def embedder(form: str, threads: int, folder: pathlib.Path):
    """A function of a batch's ids and lengths that returns its embeddings."""
    if not form.startswith("onnx-"):
        from forms import FORMS

        return FORMS[form](threads).embed
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    file = folder / f"{form.removeprefix('onnx-')}.onnx"
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def embed(ids, lengths):
        mask = np.arange(ids.shape[1]) < lengths[:, None]
        return session.run(None, {"ids": ids.astype(np.int32), "mask": mask.astype(np.int32)})[0]

    return embed


def work(form: str, threads: int, seconds: float, size: int, folder: pathlib.Path) -> None:
    """Runs one form: writes its embeddings to a file and prints the least seconds of a pass and the peak of memory."""
    import numpy as np

    from encoder import WIDTH, batches

    made = batches((HERE / "sentences.txt").read_text(encoding="utf-8").splitlines(), size)
    embed = embedder(form, threads, folder)
    out = np.empty((sum(len(places) for places, _, _ in made), WIDTH), np.float32)
    for places, ids, lengths in made:
        out[places] = embed(ids, lengths)
    least, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _, ids, lengths in made:
            embed(ids, lengths)
        least = min(least, time.perf_counter() - start)
    np.save(folder / f"{form}.npy", out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rate": len(out) / least, "peak": peak}))


def run(form: str, threads: int, seconds: float, size: int, folder: pathlib.Path) -> dict[str, float]:
    """Runs `work` in a process. NumPy's products have one thread: the encoder has threads of its own."""
    command = [sys.executable, __file__, "--work", form, "--threads", str(threads), "--seconds", str(seconds)]
    command += ["--batch", str(size), "--folder", str(folder)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout)


def accuracy(folder: pathlib.Path) -> bool:
    """Prints the cosines of all forms to float32, and returns whether they are as great as they must be."""
    import numpy as np

    reference = np.load(folder / "f32.npy")
    print("| cosine to float32, NumPy | mean | least | sentences of 0.99 | of 0.97 |\n|---|---|---|---|---|")
    failures = []
    for form, name in NAMES.items():
        if form == "f32":
            continue
        cosine = (reference * np.load(folder / f"{form}.npy")).sum(axis=1, dtype=np.float64)
        counts = [f"{(cosine >= bound).sum()} of {len(cosine)}" for bound in (0.99, 0.97)]
        print(f"| {name} | {cosine.mean():.5f} | {cosine.min():.5f} | {counts[0]} | {counts[1]} |")
        for what, found, least in zip(("mean", "least"), (cosine.mean(), cosine.min()), LEAST.get(form, ())):
            # NaN is no failure of < but of >=.
            if not found >= least:
                failures.append(f"{name}: the {what} cosine is {found:.5f}, must be at least {least}")
    for failure in failures:
        print(failure, file=sys.stderr)
    return not failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accuracy", action="store_true", help="measures no speed")
    parser.add_argument("--threads", default="1,2", help="numbers of threads [default: 1,2]")
    parser.add_argument("--seconds", type=float, default=1, help="seconds of a measurement [default: 1]")
    parser.add_argument("--rounds", type=int, default=2, help="rounds, of which the best counts [default: 2]")
    parser.add_argument("--batch", type=int, default=16, help="sentences at once [default: 16]")
    parser.add_argument("--work", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    size, counts = arguments.batch, [int(number) for number in arguments.threads.split(",")]
    if size < 1 or arguments.rounds < 1 or min(counts) < 1:
        parser.error("--batch, --rounds and --threads must be at least 1")
    if arguments.work:
        work(arguments.work, counts[0], arguments.seconds, size, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        script = [sys.executable, str(HERE / "onnx_graph.py"), name]
        subprocess.run(script, check=True, stderr=subprocess.DEVNULL)
        if arguments.accuracy:
            for form in NAMES:
                run(form, 1, 0, size, folder)
        else:
            found: dict[tuple[str, int], list[dict[str, float]]] = {(form, n): [] for form in NAMES for n in counts}
            for _ in range(arguments.rounds):
                for form, n in found:
                    found[form, n].append(run(form, n, arguments.seconds, size, folder))
            threads = " | ".join(f"{n} thread{'s' * (n > 1)}" for n in counts)
            print(f"| sentences per second | {threads} | peak memory, MB |\n|---|{'---|' * (len(counts) + 1)}")
            for form, label in NAMES.items():
                rates = " | ".join(f"{max(run['rate'] for run in found[form, n]):.0f}" for n in counts)
                print(f"| {label} | {rates} | {max(run['peak'] for run in found[form, counts[0]]):.0f} |")
            print()
        good = accuracy(folder)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
