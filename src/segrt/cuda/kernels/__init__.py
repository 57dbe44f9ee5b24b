"""The engine's own kernels: one file a kernel, CUDA C++ compiled by NVRTC for the GPU at hand."""
