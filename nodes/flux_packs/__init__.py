"""The image prompt nodes of other packs for Flux, Chroma and SD3.5 under their names.

Tables over `Settings` and `apply`; the nodes of ComfyUI_IPAdapter_plus are nodes/plus.
"""
