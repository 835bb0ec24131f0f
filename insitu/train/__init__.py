"""Learn a network from simulated images, whose truth is exact."""
