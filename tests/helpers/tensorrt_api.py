"""What is used of TensorRT's runtime: checked against the real library, and all that fakes have."""

from __future__ import annotations

PROPERTY: tuple[str, ...] = ("a property",)

# Class -> attribute -> parameters' names without `self`, or PROPERTY. By flavour: both, RTX alone.
USED: dict[str, dict[str, tuple[str, ...]]] = {
    "Runtime": {
        "deserialize_cuda_engine": ("serialized_engine",),
        "engine_host_code_allowed": PROPERTY,
        "tempfile_control_flags": PROPERTY,
    },
    "ICudaEngine": {
        "create_execution_context": ("strategy",),
        "device_memory_size_v2": PROPERTY,
        "get_tensor_dtype": ("name",),
        "get_tensor_location": ("name",),
        "get_tensor_mode": ("name",),
        "get_tensor_name": ("index",),
        "get_tensor_profile_shape": ("name", "profile_index"),
        "get_tensor_shape": ("name",),
        "num_io_tensors": PROPERTY,
    },
    "IExecutionContext": {
        "execute_async_v3": ("stream_handle",),
        "get_tensor_shape": ("name",),
        "set_input_shape": ("name", "shape"),
        "set_tensor_address": ("name", "memory"),
    },
}
USED_OF_RTX: dict[str, dict[str, tuple[str, ...]]] = {
    "Runtime": {"get_engine_validity": ("buffer",)},
    "ICudaEngine": {
        "create_execution_context": ("runtime_config",),
        "create_runtime_config": (),
    },
    "IRuntimeConfig": {
        "create_runtime_cache": (),
        "cuda_graph_strategy": PROPERTY,
        "set_runtime_cache": ("cache",),
    },
    "IRuntimeCache": {"deserialize": ("blob",), "serialize": ()},
}
ENUMS = {"TensorIOMode": ("INPUT", "OUTPUT"), "TensorLocation": ("DEVICE", "HOST")}
ENUMS_OF_RTX = {
    "CudaGraphStrategy": ("WHOLE_GRAPH_CAPTURE",),
    "EngineValidity": ("INVALID",),
    "EngineInvalidityDiagnostics": ("VERSION_MISMATCH", "UNSUPPORTED_CC"),
}
FUNCTIONS = ("nptype", "Runtime")


def names(*, rtx: bool) -> dict[str, set[str]]:
    """Class -> all attributes that may be used of one flavour."""
    tables = [USED, USED_OF_RTX] if rtx else [USED]
    found: dict[str, set[str]] = {}
    for table in tables:
        for kind, attributes in table.items():
            found.setdefault(kind, set()).update(attributes)
    return found
