"""Weights from and to the formats of other code bases: one format a file."""
