"""Objects of a series of frames, linked to lineages."""
