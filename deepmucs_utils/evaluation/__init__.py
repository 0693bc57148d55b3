"""Detection and segmentation metrics with LIVECell's settings; free of torch."""
