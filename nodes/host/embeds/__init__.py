"""Saved embeds: the folder they are kept in, and how files get there and are read again.

The format of the file is ip_models/references.
"""
