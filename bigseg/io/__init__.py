"""Arrays, metadata, tables and pictures at any fsspec URL."""
