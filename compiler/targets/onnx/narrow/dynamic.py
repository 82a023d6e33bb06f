"""Sums of whole numbers, where the scales of what a layer is given are found anew in each run."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx

from compiler.targets.onnx.narrow.store import array_of, in_8_bits
from compiler.targets.onnx.proto import tensor

# With 7 bits, two products of these with u8 fit into the 16 bits that processors without VNNI sum them up in; more
# would be cut off there, and give other results than here.
_LARGEST = 64
_ORT = "com.microsoft"
_LSTM_INPUTS = 8


def multiply_integers(model: onnx.ModelProto, names: Collection[str]) -> None:
    """Let the nodes ``names``, MatMul or Gemm with a weight as the second operand, multiply 8-bit numbers.

    They become DynamicQuantizeLinear, MatMulInteger and what scales its sums, which ONNX Runtime joins again to one.
    ``onnxruntime.quantization.quantize_dynamic`` writes the same, but takes a weight that it turns for one node as
    turned for all.
    """
    graph = model.graph
    weights = {item.name: array_of(item) for item in graph.initializer}
    done: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.name not in names:
            nodes.append(node)
            continue
        given, weight = node.input[:2]
        turned = any(item.name == "transB" and item.i for item in node.attribute)
        key = f"{weight}.T" if turned else weight
        if f"{key} i8" not in weights:
            numbers, scale = in_8_bits(weights[weight].T if turned else weights[weight], (-2,), _LARGEST)
            # MatMulInteger takes one scale for each column.
            weights |= {f"{key} i8": numbers, f"{key} scale": scale.reshape(-1) if numbers.ndim == 2 else scale}
            graph.initializer.extend(tensor(name, weights[name]) for name in (f"{key} i8", f"{key} scale"))
        if given not in done:
            done[given] = f"{given} u8"
            made = [f"{given} u8", f"{given} scale", f"{given} zero"]
            nodes.append(onnx.helper.make_node("DynamicQuantizeLinear", [given], made, f"{given}/Quantize"))
        nodes += _product(node, given, key)
    del graph.node[:]
    graph.node.extend(nodes)


def _product(node: onnx.NodeProto, given: str, weight: str) -> list[onnx.NodeProto]:
    result = node.output[0]
    bias = list(node.input[2:])
    scaled = f"{result} product" if bias else result

    def made(kind: str, inputs: list[str], output: str, name: str) -> onnx.NodeProto:
        found = onnx.helper.make_node(kind, inputs, [output], f"{node.name}/{name}")
        found.metadata_props.extend(node.metadata_props)
        return found

    nodes = [
        made("MatMulInteger", [f"{given} u8", f"{weight} i8", f"{given} zero"], f"{result} i32", "MatMul"),
        made("Cast", [f"{result} i32"], f"{result} f32", "Cast"),
        made("Mul", [f"{given} scale", f"{weight} scale"], f"{result} scale", "Scale"),
        made("Mul", [f"{result} f32", f"{result} scale"], scaled, "Mul"),
    ]
    nodes[1].attribute.append(onnx.helper.make_attribute("to", onnx.TensorProto.FLOAT))
    return [*nodes, made("Add", [scaled, *bias], result, "Add")] if bias else nodes


def lstm_integers(model: onnx.ModelProto, names: Collection[str]) -> None:
    """Let the LSTM nodes ``names`` work on 8-bit numbers: DynamicQuantizeLSTM, which only ONNX Runtime has."""
    graph = model.graph
    weights = {item.name: array_of(item) for item in graph.initializer}
    for node in graph.node:
        if node.name not in names:
            continue
        inputs = [*node.input, *[""] * (_LSTM_INPUTS - len(node.input))]
        for place in (1, 2):
            name = inputs[place]
            numbers, scale = in_8_bits(weights[name], (-1,), _LARGEST)
            zero = np.zeros(scale.shape[:2], np.int8)
            parts = {f"{name} i8": numbers.transpose(0, 2, 1), f"{name} scale": scale.reshape(zero.shape)}
            parts[f"{name} zero"] = zero
            for key, array in parts.items():
                if key not in weights:
                    graph.initializer.append(tensor(key, np.ascontiguousarray(array)))
                    weights[key] = array
            inputs[place] = f"{name} i8"
            inputs += [f"{name} scale", f"{name} zero"]
        del node.input[:]
        node.input.extend(inputs)
        node.op_type, node.domain = "DynamicQuantizeLSTM", _ORT
    if not any(item.domain == _ORT for item in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(_ORT, 1))
