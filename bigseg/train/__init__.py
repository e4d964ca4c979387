"""Train the networks that bigseg ships."""
