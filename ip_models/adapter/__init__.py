"""What an adapter is: its file recognised and read, its modules, its LoRA, the encoder it needs.

Opening files is the host's part (nodes/host/files); attention with its keys is ip_models/attention.
"""
