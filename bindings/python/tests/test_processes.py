"""Forked and spawned processes, many threads, and memory over many calls."""

import gc
import multiprocessing
import os
import sys
import threading
import warnings

import numpy as np
import pytest
from formulas import sums

import qgemm


def large(seed):
    """A product that the library shares among threads."""
    rng = np.random.default_rng(seed)
    a = rng.integers(-128, 128, (512, 512), np.int8)
    return a, rng.integers(-128, 128, (512, 512), np.int8)


def check_large(seed):
    """Used by other processes: whether some large products are right."""
    a, b = large(seed)
    want = (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int32)
    packed = qgemm.PackedB(b)
    return all(np.array_equal(qgemm.matmul(a, packed), want) for _ in range(20))


def check_packed(packed, a, want):
    return np.array_equal(qgemm.matmul(a, packed), want)


def check_in_forks(seed, more):
    """A chain of forks, longer than the library has places for threads of processes."""
    return check_large(seed) and (more == 0 or run_in("fork", check_in_forks, (seed + 1, more - 1)))


def report(connection, function, arguments):
    connection.send(function(*arguments))
    connection.close()


def run_in(method, function, arguments):
    context = multiprocessing.get_context(method)
    here, there = context.Pipe(duplex=False)
    with warnings.catch_warnings():
        # Python warns of forks where there are threads: those of the library are meant to be survived.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = context.Process(target=report, args=(there, function, arguments))
        process.start()
    there.close()
    try:
        assert here.poll(120), "the process hangs"
        return here.recv()
    finally:
        process.kill()
        process.join()


METHODS = [method for method in ("fork", "spawn") if method in multiprocessing.get_all_start_methods()]


@pytest.mark.parametrize("method", METHODS)
def test_other_processes(method):
    assert check_large(1)
    assert run_in(method, check_large, (2,))
    assert check_large(3)


@pytest.mark.skipif("fork" not in METHODS, reason="there is no fork")
def test_forks_of_forks_and_many_forks():
    assert check_large(1)
    assert run_in("fork", check_in_forks, (2, 5))
    for seed in range(6):
        assert run_in("fork", check_large, (seed,))


@pytest.mark.skipif("fork" not in METHODS, reason="there is no fork")
def test_forks_while_other_threads_multiply():
    a, b = large(6)
    packed, done = qgemm.PackedB(b), threading.Event()

    def work():
        while not done.is_set():
            qgemm.matmul(a, packed)

    threads_of_parent = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads_of_parent:
        thread.start()
    try:
        for seed in range(5):
            assert run_in("fork", check_large, (seed,))
    finally:
        done.set()
        for thread in threads_of_parent:
            thread.join()


def test_a_packed_b_goes_to_a_spawned_process():
    a, b = large(4)
    assert run_in("spawn", check_packed, (qgemm.PackedB(b), a[:8], sums(a[:8], b).astype(np.int32)))


def test_many_threads():
    a, b = large(5)
    packed, want = qgemm.PackedB(b), (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int32)
    right = []

    def work(m):
        for _ in range(10):
            right.append(np.array_equal(qgemm.matmul(a[:m], packed), want[:m]))
            small = qgemm.PackedB(b[:, :m])
            right.append(np.array_equal(qgemm.matmul(a[:3], small), want[:3, :m]))

    threads = [threading.Thread(target=work, args=(m,)) for m in (1, 16, 100, 256, 512, 512, 31, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(right) == 160 and all(right)


@pytest.mark.parametrize("what", ["product", "packing"])
def test_other_threads_run_meanwhile(what):
    """With a switch interval of a minute, another thread runs only if a call lets it."""
    a = np.ones((1024, 1024), np.int8)
    packed, ready, ran = qgemm.PackedB(a), threading.Event(), []

    def wait_and_run():
        ready.wait()
        ran.append(True)

    thread = threading.Thread(target=wait_and_run)
    thread.start()
    before = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        ready.set()
        for _ in range(200):
            if what == "product":
                qgemm.matmul(a, packed)
            else:
                qgemm.PackedB(a)
            if ran:
                break
        assert ran
    finally:
        sys.setswitchinterval(before)
        thread.join()


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="Linux tells the memory of a process there")
def test_memory_does_not_grow():
    rng = np.random.default_rng(10)
    a, w = rng.integers(-9, 9, (8, 64), np.int8), rng.integers(-9, 9, (64, 32), np.int8)
    x, packed = a.astype(np.float32), qgemm.PackedB(w)
    groups = qgemm.GroupwiseB.quantize(w.astype(np.float32))
    scale, out = np.ones(32, np.float32), np.zeros((8, 32), np.int8)

    def calls(count):
        for _ in range(count):
            qgemm.matmul(a[::-1], packed, a_zero=[1] * 8, bias=np.ones(32, int))
            qgemm.matmul(a, w, scale=scale, out=out[:, ::-1], residual=out[::-1, ::-1].copy(), residual_scale=1)
            qgemm.dynamic_matmul(x, packed, scale, return_params=True)
            groups.matmul(x, bias=scale, activation="gelu")
            qgemm.quantize_columns(x)
            qgemm.PackedB(w)
            qgemm.dequantize(qgemm.quantize(x, 0.5), 0.5)
            try:
                qgemm.matmul(a, packed, bias=[1])
            except ValueError:
                pass
            qgemm.info()

    calls(2000)
    gc.collect()
    before = resident()
    calls(11_500)  # more than 10**5 calls together
    gc.collect()
    grown = resident() - before
    # A leak of 16 bytes a call would be more than 1.6 MB.
    assert grown < 1_000_000, f"{grown} bytes more"
