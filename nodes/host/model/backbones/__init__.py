"""The attention layers of each kind of diffusion model, read from the model that was given.

The name of a layer is read by ip_models/layer_address.py, what it does is ip_models/attention.
"""
