"""Sessions of ONNX Runtime for the tiny graphs of tests."""

import onnxruntime

AS_WRITTEN = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL


def session_of(path, level=onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL):
    """On one thread, with memory of its own for every value: planning which values share some takes
    longer than everything else. `level`: what may be rewritten of the graph."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_mem_reuse = False
    options.graph_optimization_level = level
    return onnxruntime.InferenceSession(path, options)
