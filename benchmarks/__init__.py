"""Speed, accuracy and endurance, measured: `python -m benchmarks.NAME` prints a table and keeps it in `results/`."""
