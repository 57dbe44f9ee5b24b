"""Rules about releases of TensorRT: one file an op family, each registered with `@rule`."""
