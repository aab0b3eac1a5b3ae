"""Writes the model as ONNX files, for the comparison with ONNX Runtime.

    python onnx_graph.py FOLDER        writes FOLDER/f32.onnx, and FOLDER/int8.onnx by quantize_dynamic

The graph has the fused operators (com.microsoft) that ONNX Runtime's optimizer for transformers makes of an exported
BERT. They run faster than the standard ones. Inputs are ids (sentences x tokens, int32, padded) and mask (the same
shape, int32, 1 or 0); the output is embeddings (sentences x WIDTH).
"""

import pathlib
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

import weights
from encoder import EPSILON, HEADS, LAYERS, WIDTH

FUSED: dict[str, dict[str, Any]] = {
    "EmbedLayerNormalization": {"epsilon": float(EPSILON)},
    "SkipLayerNormalization": {"epsilon": float(EPSILON)},
    "Attention": {"num_heads": HEADS},
    "BiasGelu": {},
}


class Graph:
    """Nodes and constants, in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, npt.NDArray[np.generic]] = {}

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def tensor(self, name: str) -> str:
        return self.constant(name, weights.tensor(name))

    def weight(self, name: str) -> str:
        """The weights of a linear layer, as K x N."""
        return self.constant(name + ".weight", weights.tensor(name + ".weight").T)

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Adds an operator and returns the name of its first output."""
        names = [f"{kind}_{len(self.nodes)}_{i}" for i in range(outputs)]
        domain = "com.microsoft" if kind in FUSED else ""
        attributes = {**FUSED.get(kind, {}), **attributes}
        self.nodes.append(helper.make_node(kind, inputs, names, domain=domain, name=names[0], **attributes))
        return names[0]


def layer(graph: Graph, x: str, number: int) -> str:
    """A layer of the encoder: sentences x tokens x WIDTH to the same."""
    name = f"encoder.layer.{number}."
    parts = [f"{name}attention.self.{part}" for part in ("query", "key", "value")]
    w = np.concatenate([weights.tensor(part + ".weight").T for part in parts], axis=1)
    bias = np.concatenate([weights.tensor(part + ".bias") for part in parts])
    qkv = graph.constant(name + "qkv.weight", w), graph.constant(name + "qkv.bias", bias)
    y = graph.node("Attention", x, *qkv, "mask")
    x = add_and_norm(graph, y, x, name + "attention.output")
    y = graph.node("MatMul", x, graph.weight(name + "intermediate.dense"))
    y = graph.node("BiasGelu", y, graph.tensor(name + "intermediate.dense.bias"))
    return add_and_norm(graph, y, x, name + "output")


def add_and_norm(graph: Graph, y: str, x: str, name: str) -> str:
    """A linear layer of y, plus x, normalized."""
    y = graph.node("MatMul", y, graph.weight(name + ".dense"))
    norm = [graph.tensor(f"{name}.LayerNorm.{part}") for part in ("weight", "bias")]
    return graph.node("SkipLayerNormalization", y, x, *norm, graph.tensor(name + ".dense.bias"))


def model() -> onnx.ModelProto:
    graph = Graph()
    # All texts have type 0, whose vector is added to those of the places.
    places = weights.tensor("embeddings.position_embeddings.weight")
    places += weights.tensor("embeddings.token_type_embeddings.weight")[0]
    tables = graph.tensor("embeddings.word_embeddings.weight"), graph.constant("places", places)
    norm = [graph.tensor(f"embeddings.LayerNorm.{part}") for part in ("weight", "bias")]
    x = graph.node("EmbedLayerNormalization", "ids", "", *tables, "", *norm, outputs=2)
    for number in range(LAYERS):
        x = layer(graph, x, number)
    # The mean over a sentence's tokens, normalized: the sum has the same direction.
    real = graph.node("Cast", "mask", to=TensorProto.FLOAT)
    real = graph.node("Unsqueeze", real, graph.constant("last", np.array([2])))
    x = graph.node("Mul", x, real)
    x = graph.node("ReduceSum", x, graph.constant("tokens", np.array([1])), keepdims=0)
    graph.nodes.append(helper.make_node("LpNormalization", [x], ["embeddings"], axis=1, p=2))
    made = helper.make_graph(
        graph.nodes,
        "all-MiniLM-L6-v2",
        [helper.make_tensor_value_info(name, TensorProto.INT32, ["sentences", "tokens"]) for name in ("ids", "mask")],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["sentences", WIDTH])],
        [numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(made, opset_imports=versions, ir_version=8)


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    onnx.save(model(), folder / "f32.onnx")
    # As qgemm's form: int8 weights with a scale per column.
    quantize_dynamic(
        folder / "f32.onnx",
        folder / "int8.onnx",
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": TensorProto.FLOAT},
    )


if __name__ == "__main__":
    main()
