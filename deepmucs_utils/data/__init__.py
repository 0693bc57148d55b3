"""LIVECell and its phantom: cultures, layout, index."""
