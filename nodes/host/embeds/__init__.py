"""Saved embeds: the folder they are kept in, written whole and read back checked.

The format of the file is ip_models/references.
"""
