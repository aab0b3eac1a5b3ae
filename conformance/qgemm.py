"""qgemm as a process that answers cases; driver/src/main.rs describes the format."""

import json
import struct
import subprocess
from dataclasses import dataclass, field

import numpy as np
from safetensors.numpy import load, save


@dataclass
class Call:
    """A call of qgemm: an operation of driver/src/case.rs, its parameters, and the tensors that it reads."""

    op: str
    tensors: dict
    parameters: dict = field(default_factory=dict)

    def blob(self, extra=()):
        """The call as safetensors, with more tensors if `extra` has pairs of names and arrays."""
        tensors = {name: np.ascontiguousarray(t) for name, t in [*self.tensors.items(), *extra]}
        return save(tensors, {"case": json.dumps({"op": self.op, **self.parameters})})

    def but(self, tensors=(), **parameters):
        """A copy of the call with other tensors and parameters."""
        return Call(self.op, {**self.tensors, **dict(tensors)}, {**self.parameters, **parameters})


class Qgemm:
    """The driver as a running process."""

    def __init__(self, driver, perturb=False):
        self.process = subprocess.Popen(
            [driver, *["--perturb"] * perturb], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(self, call):
        """The outputs of a call by name."""
        blob = call.blob()
        self.process.stdin.write(struct.pack("<Q", len(blob)))
        self.process.stdin.write(blob)
        self.process.stdin.flush()
        (length,) = struct.unpack("<Q", self._read(8))
        results = load(self._read(length))
        if "error" in results:
            raise RuntimeError(f"qgemm: {results['error'].tobytes().decode()}")
        return results

    def _read(self, length):
        data = self.process.stdout.read(length)
        if len(data) < length:
            raise RuntimeError(f"the driver ended, exit code {self.process.wait()}")
        return data

    def close(self):
        self.process.stdin.close()
        if self.process.wait():
            raise RuntimeError(f"the driver failed, exit code {self.process.returncode}")
