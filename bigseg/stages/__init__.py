"""One module per step of the data; each has Spec, check, prepare, read, block and finish."""
