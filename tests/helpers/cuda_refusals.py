"""Which golden models the CUDA engine refuses."""

from __future__ import annotations

# Models that also hold layers the engine has nothing for yet: dense and global ones, a softmax
# anywhere but at the end, explicit padding, normalizations by a sample's own statistics, products,
# volumes.
REFUSED = {
    "activation_layers",
    "activation_names",
    "activation_objects",
    "attention",
    "attention_unet_layer_norm",
    "batch_norms",
    "bicubic_upsampling",
    "channels_first",
    "convolutions",
    "dictionaries",
    "einsum_dense",
    "group_norms",
    "layer_norms",
    "layers_in_layers",
    "many_inputs_outputs",
    "merging",
    "multi_head_attention",
    "odd_resizing",
    "ops_arithmetic",
    "ops_attention",
    "ops_moving",
    "pooling",
    "products",
    "resizing",
    "scaling",
    "shaping",
    "time_distributed",
    "time_distributed_models",
    "transposed_convolutions",
    "transunet",
    "unit_norms",
    "volume_unet",
}
