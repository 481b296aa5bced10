"""Colours of all plots, distinguishable also for those who confuse red and green."""

BLUE, ORANGE, GREEN, PURPLE, GREY = "#1f5fa8", "#c8641e", "#2f9e7a", "#8a4fa3", "#6b6b6b"
IN_ORDER = (BLUE, ORANGE, GREEN, PURPLE, GREY)
