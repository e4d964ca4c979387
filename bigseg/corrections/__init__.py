"""Correct the objects of a finished run: `correct` is what others call."""
