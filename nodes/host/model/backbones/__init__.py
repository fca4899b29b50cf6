"""The kinds of diffusion models that take image prompts, and the layers of a MODEL that was given.

A layer is ip_models/layer.py, what users call its block is ip_models/weights/vocabulary.py, what it
does is ip_models/attention.
"""
