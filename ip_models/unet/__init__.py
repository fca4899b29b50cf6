"""Stable Diffusion UNets: where their layers are, and what users call their blocks and presets.

What adapters, attention and weights do with any layer is not here; nothing here knows the host.
"""
