"""The only code that knows ComfyUI: models, folders, memory management, and the editor's routes.

Node schemas are one floor up, arithmetic is in ip_models.
"""
