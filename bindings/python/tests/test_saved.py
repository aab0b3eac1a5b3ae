"""Weights as bytes: files, maps that processes share, pickles."""

import io
import os
import pathlib
import pickle
import stat

import numpy as np
import pytest
from test_processes import run_in

import qgemm

RNG = np.random.default_rng(12)
W = RNG.integers(-128, 128, (70, 33), np.int8)
X = RNG.standard_normal((5, 70), np.float32)


def weights():
    codes = RNG.integers(0, 16, (70, 33), np.uint8)
    scales = RNG.random((5, 33), np.float32)
    yield qgemm.PackedB(W, activations="u8")
    yield qgemm.PackedB(W.view(np.uint8)[:7, :3])
    yield qgemm.PackedB(np.zeros((0, 4), np.int8))
    yield qgemm.GroupwiseB(codes, scales, 16)
    yield qgemm.GroupwiseB(codes, scales.astype(np.float16), 16, zeros=codes[:5], minimums=scales)
    yield qgemm.GroupwiseB(W, scales, 16, bits=8)


def product(b):
    x = X[:, : b.k]
    return b.matmul(x) if isinstance(b, qgemm.GroupwiseB) else qgemm.dynamic_matmul(x, b, 0.5)


def check_same(got, want):
    assert type(got) is type(want) and repr(got) == repr(want)
    for name in ("dtype", "kernel", "nbytes"):
        assert getattr(got, name) == getattr(want, name)
    np.testing.assert_array_equal(product(got), product(want))


@pytest.mark.parametrize("b", list(weights()), ids=repr)
def test_round_trips(b, tmp_path):
    path = tmp_path / "weights.qgemm"
    b.save(path)
    saved, kind = path.read_bytes(), type(b)
    assert stat.S_IMODE(path.stat().st_mode) & 0o444 and list(tmp_path.iterdir()) == [path]
    stream = io.BytesIO()
    b.save(stream)
    assert stream.getvalue() == saved
    with open(tmp_path / "raw", "wb", buffering=0) as raw:
        b.save(raw)
    with open(tmp_path / "raw", "rb") as raw:
        check_same(kind.load(raw), b)
    for source in (path, str(path), saved, bytearray(saved), memoryview(saved), np.frombuffer(saved, np.uint8)):
        check_same(kind.load(source), b)
    mapped = kind.map(path)
    check_same(mapped, b)
    # Replaced and removed, while it is mapped.
    other = kind(W) if kind is qgemm.PackedB else qgemm.GroupwiseB.quantize(X.T)
    other.save(str(path))
    path.unlink()
    check_same(mapped, b)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        check_same(pickle.loads(pickle.dumps(b, protocol)), b)


def test_info(tmp_path):
    path = tmp_path / "w"
    packed, groups, *_ = [b for b in weights() if b.k == 70][:1] + [b for b in weights()][4:]
    packed.save(path)
    kernel = {"activations": "uint8", "kernel": packed.kernel}
    want = {"kind": "PackedB", "shape": (70, 33), "dtype": "int8"} | kernel
    assert qgemm.saved_info(path) == want == qgemm.saved_info(path.read_bytes())
    groups.save(path)
    want = {"kind": "GroupwiseB", "shape": (70, 33), "dtype": "uint8", "bits": 4, "group": 16}
    want |= {"scales": "float16", "minimums": "float32", "zeros": True}
    assert qgemm.saved_info(str(path)) == want
    with open(path, "rb") as file:
        assert qgemm.saved_info(file) == want


class Full(io.RawIOBase):
    """A file that takes some bytes and then no more."""

    def writable(self):
        return True

    def write(self, data):
        raise OSError(28, "no space")


def test_what_is_refused(tmp_path):
    packed, groups = qgemm.PackedB(W), qgemm.GroupwiseB.quantize(X)
    path = tmp_path / "w"
    packed.save(path)
    saved = path.read_bytes()
    changed = bytearray(saved)
    changed[300] ^= 1
    (tmp_path / "empty").touch()
    for error, text, call in [
        (FileNotFoundError, "^path: ", lambda: qgemm.PackedB.map(tmp_path / "none")),
        (FileNotFoundError, "^path: ", lambda: qgemm.PackedB.load(str(tmp_path / "none"))),
        (FileNotFoundError, "^path_or_file: ", lambda: packed.save(tmp_path / "no" / "w")),
        (OSError, "^path_or_file: ", lambda: packed.save(tmp_path)),
        (OSError, "no space", lambda: packed.save(Full())),
        (TypeError, "^path_or_file: is of <class 'int'>", lambda: packed.save(3)),
        (TypeError, "^path: is of <class 'bytes'>", lambda: qgemm.GroupwiseB.map(saved)),
        (TypeError, "^source: is of <class 'int'>", lambda: qgemm.PackedB.load(3)),
        (ValueError, "^saved: was 0 bytes", lambda: qgemm.PackedB.map(tmp_path / "empty")),
        (ValueError, "^saved: ", lambda: qgemm.GroupwiseB.load(path)),
        (ValueError, "^saved: ", lambda: qgemm.GroupwiseB.map(path)),
        (ValueError, "^saved: was ", lambda: qgemm.PackedB.load(saved[:-1])),
        (ValueError, "^saved: checksum", lambda: qgemm.PackedB.load(changed)),
        (ValueError, "^saved: checksum", lambda: qgemm.saved_info(changed)),
        (ValueError, "^saved: ", lambda: qgemm.saved_info(b"x" * 500)),
    ]:
        with pytest.raises(error, match=text):
            call()
    assert path.read_bytes() == saved and {p.name for p in tmp_path.iterdir()} == {"w", "empty"}
    groups.save(path)
    with pytest.raises(ValueError, match="^saved: "):
        qgemm.PackedB.load(path)


def mapped_here(path, repack):
    try:
        b = qgemm.PackedB.map(path, repack=repack)
        return b.kernel, product(b)
    except ValueError as error:
        return str(error)


@pytest.mark.skipif(qgemm.PackedB(W).kernel.startswith("scalar"), reason="there is no other kernel")
def test_another_kernel(tmp_path, monkeypatch):
    path = tmp_path / "w"
    b = qgemm.PackedB(W)
    b.save(path)
    # The library has read the environment of this process already.
    monkeypatch.setenv("QGEMM_ISA", "scalar")
    kernel, y = run_in("spawn", mapped_here, (path, True))
    assert kernel.startswith("scalar") and kernel != b.kernel
    np.testing.assert_array_equal(y, product(b))
    refused = run_in("spawn", mapped_here, (path, False))
    assert refused.startswith(f"saved: was packed for the kernel {b.kernel}, must be for {kernel}")


def own_memory():
    """Bytes that this process has in memory and that are no file's."""
    with open("/proc/self/smaps_rollup") as rollup:
        return 1024 * next(int(line.split()[1]) for line in rollup if line.startswith("Anonymous:"))


def mapped_product(kind, path, how):
    """The product, and the memory that the weights take from this process alone."""
    before = own_memory()
    b = getattr(kind, how)(path)
    x = np.ones((2, b.k), np.float32)
    y = b.matmul(x) if kind is qgemm.GroupwiseB else qgemm.dynamic_matmul(x, b, 1.0)
    return y.tobytes(), own_memory() - before


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="Linux tells the memory of a process there")
@pytest.mark.parametrize(("kind", "k"), [(qgemm.PackedB, 8192), (qgemm.GroupwiseB, 2048)])
def test_processes_share_a_mapped_file(kind, k, tmp_path):
    n = 8192
    w = np.resize(np.arange(251, dtype=np.uint8), (k, n))
    path = pathlib.Path(tmp_path, "w")
    b = kind(w) if kind is qgemm.PackedB else kind(w, np.ones((k // 128, n), np.float32), 128, bits=8)
    b.save(path)
    x = np.ones((2, k), np.float32)
    want = b.matmul(x) if kind is qgemm.GroupwiseB else qgemm.dynamic_matmul(x, b, 1.0)
    size = path.stat().st_size
    assert size >= k * n
    for _ in range(2):
        got, grown = run_in("spawn", mapped_product, (kind, path, "map"))
        assert got == want.tobytes() and grown < size // 2, grown
    got, grown = run_in("spawn", mapped_product, (kind, path, "load"))
    assert got == want.tobytes() and grown > size // 2, grown


def small_product(path, connection):
    b = qgemm.GroupwiseB.map(path)
    connection.send_bytes(product(b).tobytes())
    connection.recv()  # The weights live until all processes have them.


def test_many_processes_at_once(tmp_path):
    import multiprocessing

    path = tmp_path / "w"
    b = list(weights())[4]
    b.save(path)
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe() for _ in range(3)]
    processes = [context.Process(target=small_product, args=(path, there)) for _, there in ends]
    for process in processes:
        process.start()
    try:
        for here, _ in ends:
            assert here.poll(120)
            assert here.recv_bytes() == product(b).tobytes()
        assert all(process.is_alive() for process in processes)
        for here, _ in ends:
            here.send(None)
    finally:
        for process in processes:
            process.join(60)
            process.kill()
    assert [process.exitcode for process in processes] == [0, 0, 0]
