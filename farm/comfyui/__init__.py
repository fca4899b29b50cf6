"""What speaks to ComfyUI: a server that is started or reached, and who makes pictures with it."""
