"""The few collective operations that a split layer needs, by MPI, by PyTorch's gloo, or by nothing for one process."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Communicator(Protocol):
    """A group of processes. Every process must make the same calls in the same order."""

    rank: int  # the number of this process
    size: int  # the number of processes

    def sum(self, values: Array) -> None:
        """Replaces int32 or float32 values by their sums over all processes. int32 wraps."""

    def max(self, values: Array) -> None:
        """Replaces float32 values by the greatest of all processes. NaN is not allowed."""

    def gather(self, values: Array, counts: Sequence[int]) -> list[Array]:
        """The values of all processes, of which process i has counts[i], as arrays of one dimension."""

    def barrier(self) -> None:
        """Returns when all processes have called it."""


class Alone:
    """One process."""

    rank, size = 0, 1

    def sum(self, values: Array) -> None:
        pass

    def max(self, values: Array) -> None:
        pass

    def gather(self, values: Array, counts: Sequence[int]) -> list[Array]:
        return [values.reshape(-1)]

    def barrier(self) -> None:
        pass


class Mpi:
    """The processes that mpirun started."""

    def __init__(self) -> None:
        from mpi4py import MPI

        self.mpi, self.world = MPI, MPI.COMM_WORLD
        self.rank, self.size = self.world.Get_rank(), self.world.Get_size()

    def sum(self, values: Array) -> None:
        self.world.Allreduce(self.mpi.IN_PLACE, values, self.mpi.SUM)

    def max(self, values: Array) -> None:
        self.world.Allreduce(self.mpi.IN_PLACE, values, self.mpi.MAX)

    def gather(self, values: Array, counts: Sequence[int]) -> list[Array]:
        out = np.empty(sum(counts), values.dtype)
        self.world.Allgatherv(np.ascontiguousarray(values), (out, counts))
        return np.split(out, np.cumsum(counts)[:-1])

    def barrier(self) -> None:
        self.world.Barrier()


class Gloo:
    """Processes with RANK and WORLD_SIZE in their environment, that find each other by the file MEETING."""

    def __init__(self) -> None:
        import torch
        import torch.distributed

        self.torch, self.world = torch, torch.distributed
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        meeting = "file://" + os.path.abspath(os.environ["MEETING"])
        self.world.init_process_group("gloo", init_method=meeting, rank=self.rank, world_size=self.size)
        # Its threads must have ended before the interpreter does.
        atexit.register(self.world.destroy_process_group)

    def sum(self, values: Array) -> None:
        self.world.all_reduce(self.torch.from_numpy(values), self.world.ReduceOp.SUM)

    def max(self, values: Array) -> None:
        self.world.all_reduce(self.torch.from_numpy(values), self.world.ReduceOp.MAX)

    def gather(self, values: Array, counts: Sequence[int]) -> list[Array]:
        # Gloo gathers equal counts only.
        padded = np.zeros(max(counts), values.dtype)
        padded[: values.size] = values.reshape(-1)
        out = [np.empty_like(padded) for _ in counts]
        self.world.all_gather([self.torch.from_numpy(part) for part in out], self.torch.from_numpy(padded))
        return [part[:count] for part, count in zip(out, counts)]

    def barrier(self) -> None:
        self.world.barrier()


class Counted:
    """Another communicator, whose bytes are counted: those of each operation's result, on one process."""

    def __init__(self, inner: Communicator):
        self.inner, self.rank, self.size = inner, inner.rank, inner.size
        self.bytes = 0

    def count(self, values: int) -> None:
        self.bytes += values if self.size > 1 else 0

    def sum(self, values: Array) -> None:
        self.count(values.nbytes)
        self.inner.sum(values)

    def max(self, values: Array) -> None:
        self.count(values.nbytes)
        self.inner.max(values)

    def gather(self, values: Array, counts: Sequence[int]) -> list[Array]:
        self.count(sum(counts) * values.itemsize)
        return self.inner.gather(values, counts)

    def barrier(self) -> None:
        self.inner.barrier()


BACKENDS: dict[str, type[Communicator]] = {"alone": Alone, "mpi": Mpi, "gloo": Gloo}
