"""Weights from and to the formats of other code bases, one format per file."""
