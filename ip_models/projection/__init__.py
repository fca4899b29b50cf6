"""What an adapter computes: image projections, and the key and value maps of its layers.

Which of them a file has is ip_models/adapter; attention with their result is ip_models/attention.
"""
