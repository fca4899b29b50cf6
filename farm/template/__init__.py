"""Workflows that tables fill: what columns mean, and what is encoded once. No ComfyUI, no Ray."""
