"""The only code that knows ComfyUI's model and folder management."""
