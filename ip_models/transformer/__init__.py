"""Diffusion transformers (Flux, Chroma, SD3.5): where their layers are, what users call them.

What adapters, attention and weights do with any layer is not here; nothing here knows the host.
"""
