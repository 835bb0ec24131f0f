"""Many movies, many processes, many machines: frames are analysed in ranges anywhere and linked in order in one place.

A range is a stretch of frames of one movie. Whoever works on it (a process of this machine, a dask worker, a job of a
queue) is given paths, never pixels: it reads its frames, segments and measures them, and leaves one file in the run
folder. The ordered pass takes the files one after the other through the same loop as a run on one machine, so that the
tables and label arrays are the same, byte for byte. What every worker needs to agree on stands in the plan.
"""
