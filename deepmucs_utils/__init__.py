"""DeepMuCS: synthetic co-cultures from LIVECell, and culture-aware cell segmentation."""
