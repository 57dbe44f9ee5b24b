"""The operators of ONNX in PyTorch: one file a family."""
