"""Whether a run may begin, and doing it: one module for each kind, and what they share."""
