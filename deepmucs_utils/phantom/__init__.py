"""The phantom: a stand-in for LIVECell that everybody may see and share."""
