"""The nodes as users see them: schemas, sockets and one call each into nodes/host.

ComfyUI's model management and every check of a file are in nodes/host.
"""
