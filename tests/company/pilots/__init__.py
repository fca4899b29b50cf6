"""Pilots by what their packs do: rows, tiles, attention, caches, whole models."""
