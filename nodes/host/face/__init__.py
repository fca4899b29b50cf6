"""Face models: packs found on disk, the two engines that run them, and photos of people encoded.

The arithmetic of faces is ip_models/faces.
"""
