"""Where references are heard: shares of the image attention, recorded in a run and put together.

What is recorded in a MODEL, and when, is decided in nodes/host/compare.
"""
