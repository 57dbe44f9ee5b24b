"""What pooling of images and of volumes share: an accumulator for each channel of a vector."""

BEGIN = r"""
    float acc[V];
#pragma unroll
    for (int i = 0; i < V; ++i) acc[i] = MAXIMUM ? __int_as_float(0xff800000) : 0.0f;
    int count = 0;
""".strip("\n")

# What a tap meets is in `v`, a vector of channels.
TAKE = r"""
#pragma unroll
            for (int i = 0; i < V; ++i) {
                float value = SRC_T::load(v.e[i]);
                // A NaN stays a NaN, as in the frameworks; fmaxf would drop it.
                if (MAXIMUM) acc[i] = (value > acc[i] || value != value) ? value : acc[i];
                else acc[i] += value;
            }
""".strip("\n")

END = r"""
    float factor = MAXIMUM ? 1.0f : 1.0f / (float)count;
    Vec<DST_T, V> out;
#pragma unroll
    for (int i = 0; i < V; ++i) out.e[i] = DST_T::store(acc[i] * factor);
    out.write(y + (u64)pixel * DST_PITCH + group * V);
""".strip("\n")


def pool_source(source: str) -> str:
    """Return a kernel's source with what is shared in the places of BEGIN, TAKE and END."""
    for name, text in (("BEGIN", BEGIN), ("TAKE", TAKE), ("END", END)):
        source = source.replace(f"{name}\n", f"{text}\n")
    return source
