"""DeepMuCS: synthetic co-cultures from LIVECell, and culture-aware cell segmentation."""

MODELS = ("small", "resnest50", "paper")  # sizes of the network; see segmentation.config
