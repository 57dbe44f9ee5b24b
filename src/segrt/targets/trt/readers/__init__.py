"""TensorRT layers back to ONNX operators: one file a layer family."""
