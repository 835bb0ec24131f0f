"""insitu: streaming analysis of in-situ electron-microscopy movies, every frame."""
