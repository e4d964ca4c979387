"""Arrays in, arrays out: no files, no networks, no schedulers."""
