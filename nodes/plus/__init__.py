"""The nodes of ComfyUI_IPAdapter_plus under their own names: old inputs in, our core inside."""
