"""Nodes to look at what a reference does: where it is heard, sweeps of settings, sheets.

What they do is done in nodes/host/compare.
"""
