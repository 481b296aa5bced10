"""Images and figures that people look at."""
