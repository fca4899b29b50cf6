"""What a call of the model is for: read from the host's options, from the run, from other packs."""
