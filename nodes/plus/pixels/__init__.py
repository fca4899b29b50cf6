"""Pictures, masks and rows as ComfyUI_IPAdapter_plus makes them, value for value.

Pure functions of tensors. What a better picture would need is in ip_models/pictures; here old
workflows get the pixels they were made with.
"""
