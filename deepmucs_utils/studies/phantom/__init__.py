"""How near the phantom comes to LIVECell."""
