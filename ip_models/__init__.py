"""The IP-Adapter itself, in torch, numpy and Pillow: files, pictures, projections, attention.

Nothing here knows ComfyUI; what does is in nodes/host.
"""
