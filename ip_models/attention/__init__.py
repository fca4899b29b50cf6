"""The decoupled cross-attention: image prompts resolved for a model call, their keys, their masks.

Putting it into a MODEL is nodes/host/model; the numbers of a layer come from ip_models/weights.
"""
