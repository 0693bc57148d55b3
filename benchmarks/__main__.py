"""`python -m benchmarks [NAME …]`: run every bench_NAME.py of this folder, or those named.

A benchmark is a module with ``run()``, which prints a table or returns what there is to print.
"""

import argparse
import importlib
import json
import os
import platform
from pathlib import Path

FOLDER = Path(__file__).parent
NAMES = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))


def main():
    """Run the benchmarks in the order of their names."""
    parser = argparse.ArgumentParser("python -m benchmarks", description="Measure the speed.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(NAMES)}")
    names = parser.parse_args().names or NAMES
    for name in names:
        if name not in NAMES:
            parser.error(f"benchmark {name!r}: unknown; expected some of {', '.join(NAMES)}")
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f}\n")
    for name in names:
        print(f"== {name} ==", flush=True)
        result = importlib.import_module(f"benchmarks.bench_{name}").run()
        if result is not None:
            print(json.dumps(result, indent=1))
        print(flush=True)


if __name__ == "__main__":
    main()
