"""The IP-Adapter itself: torch, numpy and Pillow, nothing of ComfyUI."""
