"""Networks, one architecture per module, and the weights they load."""
