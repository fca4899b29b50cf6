"""Pictures made ready for an image encoder: squares, tiles, preparation, sharpening, noise.

The encoder itself is the host's (nodes/host/encoder).
"""
