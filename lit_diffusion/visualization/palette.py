"""Colours of all plots."""

BLUE, ORANGE = "#1f5fa8", "#c8641e"
