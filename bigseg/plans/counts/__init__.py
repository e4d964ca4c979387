"""What the blocks of each kind of step read and write, counted from specifications alone."""
