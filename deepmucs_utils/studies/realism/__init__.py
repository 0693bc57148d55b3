"""Can composites be distinguished from real images?"""
