"""Faults of a LIVECell root (stub; grows below)."""

# Smallest and largest plausible area of a cell, px²: half the 5th and twice the 95th percentile
# measured on genuine LIVECell images; BV2 after threshold segmentation.
AREA_RANGES = {
    "A172": (118, 5282),
    "BT474": (73, 2062),
    "BV2": (50, 800),
    "Huh7": (71, 5753),
    "MCF7": (64, 997),
    "SHSY5Y": (45, 1628),
    "SkBr3": (74, 1205),
    "SKOV3": (172, 5925),
}
