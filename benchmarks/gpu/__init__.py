"""What the package does on a GPU: `python -m benchmarks.gpu`."""
