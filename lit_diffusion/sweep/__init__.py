"""Sweeps: one question, and the runs that answer it, on this machine."""
