"""Training of the person detector on composites of people, photos and backgrounds."""
