"""From what is asked for to the steps of a run, one module for each kind."""
