"""References on a MODEL: the adapter loaded, found and applied, its patches, its LoRA, its run.

Which attention layers a MODEL has is asked of the backbones.
"""
