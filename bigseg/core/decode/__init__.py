"""Output maps of a network to labels, one module per representation."""
