"""A grid of networks × training data × seeds, as the papers of the field make them: one table, and their figures.

A study is a TOML file. Every cell of the grid is a folder; what is done stays done, so that a study that was stopped
goes on where it was.
"""
