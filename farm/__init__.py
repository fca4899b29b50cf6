"""A table of pictures made by any number of ComfyUI servers: `python -m farm`."""
