"""A source that is still being filled: a folder of numbered images, or one file that grows.

The listing of the folder is the truth, never an event of the operating system: those are lost, silently, when a new
folder appears or a queue overflows. Files are ordered by their numbers, never by their arrival; a file is used only
once it is complete; nothing is dropped, for the disk is the buffer.
"""

from __future__ import annotations

from insitu.read.watch.folder import WatchedFolder
from insitu.read.watch.growing import GrowingFile
from insitu.read.watch.live import Live, Past, is_live
from insitu.read.watch.movies import movies_in, what_comes
from insitu.read.watch.patience import Patience
from insitu.read.watch.until import Until

__all__ = ["GrowingFile", "Live", "Past", "Patience", "Until", "WatchedFolder", "is_live", "movies_in", "what_comes"]
