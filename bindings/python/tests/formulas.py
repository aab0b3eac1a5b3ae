"""The formulas of the documentation in plain NumPy, and arrays to try them on."""

import numpy as np
from hypothesis import strategies as st


def sums(a, b, a_zero=0, b_zero=0, bias=0):
    """acc of `matmul`, exact as long as it fits int64."""
    a_zero = np.asarray(a_zero, np.int64).reshape(-1, 1)
    b_zero = np.asarray(b_zero, np.int64).reshape(1, -1)
    return (a.astype(np.int64) - a_zero) @ (b.astype(np.int64) - b_zero) + np.asarray(bias, np.int64)


def saturated(real, zero, dtype, clamp=(None, None)):
    """Rounded reals plus a zero point, limited to a type and to a clamp."""
    limits = np.iinfo(dtype)
    lo = limits.min if clamp[0] is None else max(limits.min, clamp[0])
    hi = limits.max if clamp[1] is None else min(limits.max, clamp[1])
    return np.clip(real.astype(np.float64) + zero, lo, hi).astype(dtype)


def half_away(x):
    whole = np.trunc(x)
    return whole + np.where(np.abs(x - whole) >= 0.5, np.sign(x), 0)


def matrices(rows, cols, dtypes=(np.int8, np.uint8), min_value=None, max_value=None):
    """Matrices of 8 bits, in C or Fortran order or with any strides."""

    @st.composite
    def draw_one(draw):
        dtype = draw(st.sampled_from(dtypes))
        limits = np.iinfo(dtype)
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        lo = limits.min if min_value is None else min_value
        hi = limits.max if max_value is None else max_value
        extremes = draw(st.booleans())
        big = rng.integers(lo, hi, (2 * rows + 1, 3 * cols + 1), dtype, endpoint=True)
        if extremes:
            big = np.where(big > (lo + hi) // 2, dtype(hi), dtype(lo)).astype(dtype)
        return strided(draw(st.sampled_from(LAYOUTS)), big, rows, cols)

    return draw_one()


LAYOUTS = ("c", "fortran", "steps", "backwards", "columns backwards", "repeated")


def strided(layout, big, rows, cols):
    """A part of a matrix of 2 rows + 1 and 3 cols + 1, in a layout."""
    if layout == "c":
        return big[:rows, :cols].copy()
    if layout == "fortran":
        return np.asfortranarray(big[:rows, :cols])
    if layout == "steps":
        return big[1 : 1 + 2 * rows : 2, 1 : 1 + 3 * cols : 3]
    if layout == "backwards":
        return big[rows - 1 :: -1, :cols] if rows else big[:0, :cols]
    if layout == "columns backwards":
        return big[:rows, cols - 1 :: -1] if cols else big[:rows, :0]
    return np.broadcast_to(big[:1, :cols], (rows, cols))
