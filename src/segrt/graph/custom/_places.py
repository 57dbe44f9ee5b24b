"""Which source pixels an upsampled pixel is made of: the one place where that is written in CUDA.

The CUDA engine's kernels and the TensorRT plugins use these functions alike.
"""

# Nearest: each source pixel becomes a block.
NEAREST = r"""
__device__ __forceinline__ int source_of(int at, int factor) { return at / factor; }
__device__ __forceinline__ int block_of(int source, int factor) { return source * factor; }
"""

BILINEAR = r"""
__device__ __forceinline__ float place(int at, int factor, int size, int& low, int& high) {
    // Centres: source = (target + 1/2) / factor - 1/2, clamped to the image.
    float s = fmaxf((at + 0.5f) / factor - 0.5f, 0.0f);
    low = min((int)s, size - 1);
    high = min(low + 1, size - 1);
    return s - low;
}
"""
