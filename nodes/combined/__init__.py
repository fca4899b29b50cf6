"""Nodes that stand for several, with the few inputs one begins with.

What they do is done in nodes/host/combined by the same functions that the single nodes call.
"""
