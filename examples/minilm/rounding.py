"""Rounds weights to 4 bits such that the outputs of their layer change little for the inputs that sentences cause.

This is GPTQ (Frantar et al., 2022, arXiv 2210.17323), computed with the Cholesky factor of x.T @ x in place of that of
its inverse: a row is corrected for the errors of the rows before it when its turn comes, and no row is changed ahead.
"""

import pathlib

import numpy as np
import numpy.typing as npt
import qgemm

from encoder import LAYERS, Embeddings, Encoder, Layer, batches
from linear import GROUP, Activation, FloatLinear, GroupwiseLinear
from weights import Floats

Codes = npt.NDArray[np.uint8]

SENTENCES = pathlib.Path(__file__).resolve().parent / "calibration.txt"
# The part of the inputs' mean square that is added to the square of each: an input that the sentences hardly use must
# not take the errors of all others.
DAMPING = np.float32(0.01)
GREATEST = 15  # of a code


def triangle(x: Floats) -> Floats:
    """The lower triangular matrix t of K x K with t.T @ t = x.T @ x, damped, for inputs x of M x K. For errors e of the
    weights, K x N, the sum of squares of t @ e is that of x @ e, the errors of the outputs; but row i depends on the
    first i + 1 rows of e only."""
    h = x.T @ x
    h[np.diag_indices_from(h)] += DAMPING * np.trace(h) / len(h)
    # cholesky returns a lower triangular l of l @ l.T: rows and columns are reversed before and after.
    return np.ascontiguousarray(np.linalg.cholesky(h[::-1, ::-1])[::-1, ::-1].T)


def scales_and_zeros(w: Floats) -> tuple[Floats, Floats]:
    """For each column of a group of rows, the scale and the zero point (0 to 15) that cover its values and 0."""
    low, high = np.minimum(w.min(axis=0), 0), np.maximum(w.max(axis=0), 0)
    scale = (high - low) / np.float32(GREATEST)
    # A column of zeros has any scale.
    scale[scale == 0] = 1
    return scale, np.rint(-low / scale)


def round_groups(w: Floats, x: Floats) -> tuple[Codes, Floats, Codes]:
    """Codes, scales and zero points for weights w of K x N and inputs x of M x K. One row after the other is rounded,
    in all N columns at once, to the values that bring its row of t @ e nearest to 0, given the errors before it."""
    t, e = triangle(x), np.empty_like(w)
    codes = np.empty(w.shape, np.uint8)
    scales = np.empty((len(w) // GROUP, w.shape[1]), np.float32)
    zeros = np.empty(scales.shape, np.uint8)
    for g in range(len(scales)):
        start, end = g * GROUP, (g + 1) * GROUP
        own = t[start:end, start:end]
        # The weights that would make the group's rows of t @ e 0. Scales and zero points are found for these.
        goal = w[start:end] - np.linalg.solve(own, t[start:end, :start] @ e[:start])
        scales[g], zeros[g] = scale, zero = scales_and_zeros(goal)
        # Rounded weights less their goal: own @ above are the group's rows of t @ e.
        above = np.empty_like(goal)
        for i in range(GROUP):
            value = goal[i] - own[i, :i] @ above[:i] / own[i, i]
            codes[start + i] = code = np.clip(np.rint(value / scale + zero), 0, GREATEST)
            above[i] = scale * (code - zero) - goal[i]
        e[start:end] = goal + above - w[start:end]
    return codes, scales, zeros


class Recorder(FloatLinear):
    """A layer in float32 that keeps its inputs."""

    def __init__(self, w: Floats, bias: Floats):
        super().__init__(w, bias)
        self.inputs: list[Floats] = []

    def __call__(
        self, x: Floats, residual: Floats | None = None, activation: Activation | None = None, threads: int = 1
    ) -> Floats:
        self.inputs.append(x)
        return super().__call__(x, residual, activation, threads)

    def rounded(self) -> GroupwiseLinear:
        codes, scales, zeros = round_groups(self.w, np.concatenate(self.inputs))
        return GroupwiseLinear(qgemm.GroupwiseB(codes, scales, GROUP, bits=4, zeros=zeros), self.bias)


def calibrated(threads: int = 1) -> Encoder:
    """The model with weights of 4 bits, rounded for the sentences of calibration.txt."""
    embeddings = Embeddings(quantized=True)
    # Sentences are single, as padding must not count.
    made = batches(SENTENCES.read_text(encoding="utf-8").splitlines(), 1)
    states = [embeddings(ids) for _, ids, _ in made]
    layers = []
    # One layer at a time, so that little of the model is in memory in float32.
    for number in range(LAYERS):
        layer = Layer(Recorder, number)
        states = [layer(x, np.zeros((1, 1, len(x), 1), np.float32), threads) for x in states]
        for name in ("qkv", "attended", "wide", "narrow"):
            setattr(layer, name, getattr(layer, name).rounded())
        layers.append(layer)
    return Encoder(embeddings, layers, threads)
