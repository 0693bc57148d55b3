"""Does the method hold? Realism, calibration of the phantom, controls and power.

Notebooks, the command line and benchmarks import these; nothing in the core does.
"""
