"""What happened to the particles: `EventDetector` turns outlines and track ids into events, frame by frame."""

from __future__ import annotations

from insitu.events.detector import EventDetector

__all__ = ["EventDetector"]
