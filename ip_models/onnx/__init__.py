"""An ONNX file as a torch module, read without the onnx package and without trusting the file.

What the networks are for is not known here; that is ip_models/faces.
"""
