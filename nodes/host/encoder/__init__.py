"""CLIP_VISION: image encoders loaded, run on pictures and their tiles, remembered and shown.

Which adapters an encoder serves is ip_models/adapter/encoders.py.
"""
