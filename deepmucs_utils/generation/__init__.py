"""DeepMuCS-Generation (paper, section II): cells, backgrounds, artefacts, composites."""
