"""Texts of the code that look like sentences and are none."""

from __future__ import annotations

# Names of keys and of nodes, style sheets, selectors, values that are compared.
_WEB = {
    "auto hidden",
    "noopener noreferrer",
    "width: 100%; height: 100%; object-fit: contain",
    "Backspace",
    "Delete",
    "Enter",
    "Escape",
    "Node name for S&R",
    "Note",
    "Reroute",
    "Tab",
    "var(--descrip-text, var(--input-text))",
    '{1} [data-ipadapter="{2}"]',
    "{1} apply",
    "{1} both",
    "{1} encode",
    "{1} mask",
    "{1} weights",
}

# Weights as they are typed, commands to type, names inside files, names of files as patterns.
_CODE = {
    '"{1}" -m pip install',
    "accelerate merge-weights {1} .",
    "collections OrderedDict",
    "faceid plus -",
    "faceid plus v2",
    "faceid portrait (",
    "faceid portrait unnorm",
    "plus (",
    "portrait?v11?sd15, portrait?sd15",
    "python {1} . pytorch_model.bin",
    "sd15?light?v11, sd15?light",
    "torch {1}",
    "torch Size",
    "torch device",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",
    "torch.storage {1}",
    '{"double": 1.0}',
    '{"double": 1.0, "single": 0.5}',
    '{"down": {"block_2": 1.0}}',
    '{"joint": 1.0}',
    '{"up": {"block_0": [0, 1, 0]}}',
    "{1} insightface",
    '{1} insightface, then {2} --force-reinstall --no-deps "onnxruntime-gpu{3}"',
}
# Choices of old nodes, which keep their names.
_OLD = {
    "composition (SDXL)",
    "style transfer (SDXL only)",
    "style transfer (SDXL)",
    "style transfer and composition",
}

NOT_SAID = frozenset(_WEB | _CODE | _OLD)
