"""Model folders and model files: where they are, and opened safely: no code run, no memory filled.

What a file means is decided in ip_models/adapter.
"""
