"""Faces: what a detector's numbers mean, and crops as recognisers and encoders expect them.

Running the networks is nodes/host/face.
"""
