"""DeepMuCS: synthetic co-cultures from LIVECell, and culture-aware cell segmentation."""

from pathlib import Path

#: Names of the network's configurations, which are the files in ``segmentation/configs``.
MODELS = tuple(
    sorted(path.stem for path in (Path(__file__).parent / "segmentation/configs").glob("*.yaml"))
)
