"""TFLite models of one quantized FULLY_CONNECTED, run on one of LiteRT's three sets of kernels."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

RESOLVERS = {
    "xnnpack": OpResolverType.AUTO,
    "built-in": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}
ACTIVATIONS = {
    None: schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}


def fully_connected(m, weights, bias, x_q, w_scale, y_q, activation=None):
    """A model with m×K activations in i8, N×K weights in i8 with one scale or N, and an i32 bias.

    `x_q` and `y_q` are scale and zero point of input and output.
    """
    n, k = weights.shape
    w_scale = np.atleast_1d(np.asarray(w_scale, np.float32))
    none = np.zeros(len(w_scale), np.int64)
    graph, op, code = schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    int8, int32 = schema.TensorType.INT8, schema.TensorType.INT32
    graph.name, graph.inputs, graph.outputs, graph.operators = "main", [0], [3], [op]
    graph.tensors = [
        _tensor("x", (m, k), int8, 1, *x_q),
        _tensor("w", (n, k), int8, 2, w_scale, none),
        _tensor("b", (n,), int32, 3, np.float32(x_q[0]) * w_scale, none),
        _tensor("y", (m, n), int8, 4, *y_q),
    ]
    fc = schema.BuiltinOperator.FULLY_CONNECTED
    code.deprecatedBuiltinCode, code.builtinCode, code.version = fc, fc, 4
    options = schema.FullyConnectedOptionsT()
    options.keepNumDims, options.fusedActivationFunction = True, ACTIVATIONS[activation]
    op.opcodeIndex, op.inputs, op.outputs = 0, [0, 1, 2], [3]
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.FullyConnectedOptions, options
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [_buffer(), _buffer(), _buffer(weights), _buffer(bias), _buffer()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(name, shape, dtype, buffer, scale, zero):
    tensor, q = schema.TensorT(), schema.QuantizationParametersT()
    q.scale = np.atleast_1d(np.asarray(scale, np.float32))
    q.zeroPoint = np.atleast_1d(np.asarray(zero, np.int64))
    q.quantizedDimension = 0
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), dtype, buffer
    tensor.quantization = q
    return tensor


def _buffer(values=None):
    buffer = schema.BufferT()
    if values is not None:
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    return buffer


def run(model, x, kernels):
    """The output of a model for x. Raises an error if other kernels than `kernels`, a key of RESOLVERS, ran."""
    interpreter = Interpreter(
        model_content=model, num_threads=1, experimental_op_resolver_type=RESOLVERS[kernels]
    )
    interpreter.allocate_tensors()
    # A delegate that took over operators stands at the end of the list of operators.
    delegated = interpreter._get_ops_details()[-1]["op_name"] == "DELEGATE"
    if delegated != (kernels == "xnnpack"):
        raise RuntimeError(f"{kernels}: ran {[o['op_name'] for o in interpreter._get_ops_details()]}")
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).copy()
