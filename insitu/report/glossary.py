"""The words a report uses, for readers who did not run it."""

from __future__ import annotations

GLOSSARY: tuple[tuple[str, str], ...] = (
    ("radius", "Radius of the disc that has the same area as the outline: r = √(A/π). Half the equivalent diameter."),
    (
        "mean radius",
        (
            "Mean over particles that touch no edge of the picture and are not in contact with others. With coarsening "
            "statistics, particles near the edge count more to make up for those that the edge cuts."
        ),
    ),
    ("track", "One particle followed from frame to frame. It keeps its number while it is hidden for a few frames."),
    ("merger, coalescence", "Two or more particles meet, stay in contact and become one."),
    ("dissolution", "A particle shrinks until it cannot be seen. The word tells what was seen, not why."),
    ("nucleation", "A particle appears away from the edge, small at first, and grows."),
    ("appearance, lost", "A particle begins or ends without any of these having been seen."),
    ("95 % interval", "Had the movie been taken many times, 95 of 100 such intervals would hold the true value."),
    ("confidence", "From 0 to 1: how well overlap, size and neighbours agree with what an event is said to be."),
    ("drift", "Motion of the whole picture. Tracks are drawn with it removed."),
    (
        "n and K",
        (
            "Growth law rⁿ = r₀ⁿ + K t. n = 2: attachment over the whole surface; n = 3: volume diffusion, or "
            "attachment at the perimeter of supported particles; n = 4: surface diffusion on the support. One n never "
            "proves one mechanism."
        ),
    ),
)
