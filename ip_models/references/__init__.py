"""What encoders say about references (features), how several are combined, and their files.

What a layer makes of them is ip_models/attention.
"""
