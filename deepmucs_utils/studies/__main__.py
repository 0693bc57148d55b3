"""`python -m deepmucs_utils.studies [NAME] [--root ROOT] [--again] [--missing]`."""

import argparse
import sys
from pathlib import Path

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.studies.registry import list_studies, missing, run_study


def main(arguments=None):
    """List the studies, or run one, or all that are missing; returns the exit status."""
    parser = argparse.ArgumentParser("python -m deepmucs_utils.studies", description=main.__doc__)
    parser.add_argument("name", nargs="?", help="the study to run (default: list them)")
    parser.add_argument("--root", type=Path, help="LIVECell root (default: the phantom)")
    parser.add_argument("--again", action="store_true", help="repeat a finished study")
    parser.add_argument("--missing", action="store_true", help="run all without a stored result")
    options = parser.parse_args(arguments)
    names = [options.name] if options.name else missing() if options.missing else []
    try:
        if not options.name:
            print(list_studies())
        for name in names:
            print(run_study(name, options.root, options.again))
    except DeepMuCSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
