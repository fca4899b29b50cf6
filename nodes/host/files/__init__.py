"""Model folders and model files: where they are, and opened without running code from them.

What a file means is decided in ip_models/adapter.
"""
