"""Where images come from: one file format per file, each a class that reads any record of it."""
