"""Runs as one HTML page that people can read, send and print."""
