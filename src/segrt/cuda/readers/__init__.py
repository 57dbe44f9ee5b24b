"""From ONNX nodes to the engine's operations; one file a family of operators."""
