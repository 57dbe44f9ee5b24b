"""Readers of model files: each returns an ``onnx_ir.Model``."""
