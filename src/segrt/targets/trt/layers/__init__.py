"""ONNX operators to TensorRT layers: one file an operator family."""
