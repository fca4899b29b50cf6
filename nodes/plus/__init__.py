"""The nodes of ComfyUI_IPAdapter_plus under their own names, over this pack's core."""
