"""Job arrays: the blocks of a run as jobs of a batch system; only files are between them."""
