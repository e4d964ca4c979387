"""Run blocks somewhere, remember which are done, and say how it goes."""
