"""From a MODEL and pictures to a patched MODEL in one call: find, load, encode, apply.

No arithmetic of its own: search, loaders, encoders and Apply do the work.
"""
