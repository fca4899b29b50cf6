"""How strong a reference is in each layer, step and frame: block weights, presets, schedules.

Not tensors: those of an adapter are ip_models/adapter. Masks are ip_models/attention.
"""
