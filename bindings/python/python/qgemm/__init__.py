"""Exact, fast quantized matrix multiplication on NumPy arrays.

    >>> import numpy as np, qgemm
    >>> b = qgemm.PackedB(np.array([[1, -2], [3, 4]], np.int8))
    >>> qgemm.matmul(np.array([[5, 6]], np.int8), b)
    array([[23, 14]], dtype=int32)

`matmul` multiplies 8-bit matrices, `dynamic_matmul` float32 activations and 8-bit weights, `GroupwiseB.matmul` weights of 4
or 8 bits with a scale per group. Products with the same inputs have the same bytes on every CPU, for any number of threads.
"""

from ._qgemm import (
    GroupwiseB,
    PackedB,
    __version__,
    activation_table,
    dequantize,
    dynamic_matmul,
    info,
    matmul,
    matmul_batch,
    quantize,
    quantize_columns,
    quantize_rows,
    release_thread_memory,
    saved_info,
)

__all__ = [
    "GroupwiseB",
    "PackedB",
    "activation_table",
    "dequantize",
    "dynamic_matmul",
    "info",
    "matmul",
    "matmul_batch",
    "quantize",
    "quantize_columns",
    "quantize_rows",
    "release_thread_memory",
    "saved_info",
]
