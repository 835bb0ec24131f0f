"""The run folder: atomic commit units, label images, tables."""
