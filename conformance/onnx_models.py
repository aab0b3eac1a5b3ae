"""ONNX models of one node, from arrays."""

import functools

import numpy as np
from onnx import TensorProto, helper, numpy_helper

ONNX = {
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.float32): TensorProto.FLOAT,
}


def model(op, inputs, outputs, constants=(), domain="", **attributes):
    """A model of one node.

    `inputs` has an array per name, in the node's order, or None for an optional input that is left out; `outputs`
    has a dtype per name. The names in `constants` become weights of the model; the others become its inputs, whose
    dimensions are free.
    """
    names = [name if value is not None else "" for name, value in inputs.items()]
    given = {name: np.asarray(value) for name, value in inputs.items() if value is not None}
    signature = tuple((n, v.dtype.str, v.ndim) for n, v in given.items() if n not in constants)
    graph = helper.make_graph(
        [helper.make_node(op, names, list(outputs), domain=domain, **attributes)],
        "one",
        [_input(*s) for s in signature],
        [helper.make_tensor_value_info(n, ONNX[np.dtype(d)], None) for n, d in outputs.items()],
        [numpy_helper.from_array(given[name], name) for name in constants],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


@functools.cache
def _input(name, dtype, ndim):
    dims = [f"{name}{i}" for i in range(ndim)]
    return helper.make_tensor_value_info(name, ONNX[np.dtype(dtype)], dims)
