"""Segment microscopy that does not fit in memory, block by block, on a Dask cluster."""
