"""Pictures of images, points and sequences, and plots of the bound."""
