"""Which golden models the CUDA engine refuses."""

from __future__ import annotations

# Models that also hold layers the engine has nothing for yet: dense and global ones, a softmax
# anywhere but at the end, explicit padding.
REFUSED = {
    "activation_layers",
    "activation_names",
    "activation_objects",
    "batch_norms",
    "channels_first",
    "convolutions",
    "dictionaries",
    "many_inputs_outputs",
    "merging",
    "pooling",
    "scaling",
    "shaping",
    "transposed_convolutions",
}
