"""The phantom: a synthetic stand-in for LIVECell that may be published."""
