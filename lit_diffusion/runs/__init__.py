"""A run on disk and as a process. Nothing here loads Lightning."""
