"""IMAGE and MASK in, IMAGE out: preparation, noise and the view of a mask on the layers' grids.

Encoding them is nodes/host/encoder.
"""
