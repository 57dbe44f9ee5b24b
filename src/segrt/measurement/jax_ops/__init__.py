"""The operators of ONNX in JAX: one file a family."""
