"""The attention layers of each kind of diffusion model, read from the model that was given.

What is done in a layer is ip_models/attention.
"""
