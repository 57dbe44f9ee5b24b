"""TensorRT: the network written layer by layer, read back, and built; shared by its flavours."""
