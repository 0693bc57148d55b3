"""Parameters, runs, notebooks and the book."""
