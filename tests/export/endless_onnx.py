"""Writes scorer.onnx, whose few bytes say a loop of 2^62 rounds: argv[1]."""

import sys

from onnx import TensorProto, checker, helper, save

FLOAT = TensorProto.FLOAT

body = helper.make_graph(
    [
        helper.make_node("Identity", ["go"], ["on"]),
        helper.make_node("Add", ["sum", "sum"], ["doubled"]),
    ],
    "body",
    [
        helper.make_tensor_value_info("round", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        helper.make_tensor_value_info("sum", FLOAT, [1]),
    ],
    [
        helper.make_tensor_value_info("on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("doubled", FLOAT, [1]),
    ],
)
graph = helper.make_graph(
    [helper.make_node("Loop", ["rounds", "yes", "zero"], ["logits"], body=body)],
    "endless",
    [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", "s"])],
    [helper.make_tensor_value_info("logits", FLOAT, [1])],
    [
        helper.make_tensor("rounds", TensorProto.INT64, [], [1 << 62]),
        helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
        helper.make_tensor("zero", FLOAT, [1], [0.0]),
    ],
)
model = helper.make_model(
    graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
)
checker.check_model(model)
save(model, sys.argv[1])
