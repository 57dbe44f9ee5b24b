"""Readers of operators on batches of images, N C H W in the graph; asked first."""
