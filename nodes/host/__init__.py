"""The only code that knows ComfyUI's models, folders and memory management.

Node schemas are one floor up, arithmetic is in ip_models.
"""
