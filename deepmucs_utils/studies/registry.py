"""The studies by name: what each answers, how to run it, and where its result is stored.

A result is one file, ``book/measured/<name>.json``. While it runs, a study keeps its partial state
in the cache, under ``studies``, and resumes from there.
"""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import write_json
from deepmucs_utils.workflow import params, runs
from deepmucs_utils.workflow.environment import environment


@dataclass(frozen=True)
class Study:
    """A study.

    Parameters
    ----------
    question : str
        What it answers.
    minutes : int
        Expected time on two cores.
    module : str
        Its function ``study`` takes a root and the folder of the partial state, and gives the
        result.
    seeds : tuple of int
        Of its random numbers.
    livecell : bool
        Whether it needs a root of LIVECell; otherwise the phantom is the default.
    """

    question: str
    minutes: int
    module: str
    seeds: tuple[int, ...] = (0,)
    livecell: bool = False


_HERE = "deepmucs_utils.studies"
STUDIES = {
    "phantom-calibration": Study(
        "Is the phantom like LIVECell?", 2, f"{_HERE}.phantom.comparison", ()
    ),
    "difficulty": Study("Are the cultures distinguishable?", 5, f"{_HERE}.phantom.difficulty"),
    "phantom-critics": Study(
        "Is the phantom distinguishable from LIVECell?",
        20,
        f"{_HERE}.phantom.critics",
        livecell=True,
    ),
    "realism": Study("Are composites distinguishable?", 20, f"{_HERE}.realism.study"),
    "interaction-power": Study(
        "Level and power of the interaction test?",
        60,
        f"{_HERE}.interactions.null_and_power",
        (0, 1),
    ),
    "transfer": Study(
        "What carries over to LIVECell?", 40, f"{_HERE}.training.transfer", (0, 1, 2), True
    ),
    "overfit": Study("Can the large networks learn?", 150, f"{_HERE}.training.overfit"),
    "duplicates": Study(
        "Which second detections are left out?", 40, f"{_HERE}.training.duplicates", livecell=True
    ),
    "inference-scale": Study("Which scale at test?", 30, "benchmarks.inference_scale"),
}


def read_study(name: str) -> dict:
    """A stored study.

    Parameters
    ----------
    name : str
        Name of its file in ``book/measured``, without the ending.

    Returns
    -------
    dict
        ``study, command, seeds, commit, seconds, machine`` (None where not recorded) and
        ``result``.
    """
    return json.loads(result_file(name).read_text(encoding="utf-8"))


def result_file(name: str, root: Path | None = None) -> Path:
    """The file of a study's result; that of another root has the root's name in its own."""
    name = name if root is None else f"{name}_{root.resolve().name}"
    return params.repository() / "book" / "measured" / f"{name.replace('-', '_')}.json"


def list_studies() -> str:
    """One line per study: question, expected time, and the commit that its result is of."""
    lines = []
    for name, study in STUDIES.items():
        there = result_file(name).is_file()
        stored = f"stored, {read_study(name)['commit']}" if there else "missing"
        lines.append(f"{name:20} {study.minutes:3} min  {stored:16} {study.question}")
    return "\n".join(lines)


def missing() -> list[str]:
    """Names of the studies without a stored result, but for those that need LIVECell."""
    return [
        n for n, study in STUDIES.items() if not result_file(n).is_file() and not study.livecell
    ]


def run_study(name: str, root: Path | None = None, again: bool = False) -> Path:
    """Run a study, or resume it; a stored result is kept.

    Parameters
    ----------
    name : str
        Of `STUDIES`.
    root : Path, optional
        Default the phantom; the result of another root has the root's name in its own.
    again : bool
        Repeat a finished study from its beginning.

    Returns
    -------
    Path
        The result's file.

    Raises
    ------
    DeepMuCSError
        If there is no such study, or it needs a root of LIVECell.
    """
    if name not in STUDIES:
        raise DeepMuCSError(f"study {name!r}: unknown; expected one of {', '.join(STUDIES)}.")
    study = STUDIES[name]
    if study.livecell and root is None:
        raise DeepMuCSError(f"study {name}: needs a root of LIVECell; name it with --root.")
    path = result_file(name, None if study.livecell else root)
    folder = params.cache() / "studies" / path.stem
    if path.is_file() and not again:
        return path
    if again:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    result = resolve_name(f"{study.module}:study")(root or runs.data_root(params.check()), folder)
    command = f"make studies STUDY={name}" + (f" ROOT={root.name}" if root else "")
    write_json(path, document(name, command, study.seeds, time.monotonic() - begun, result))
    return path


def document(name: str, command: str, seeds, seconds: float, result) -> dict:
    """A result in the form that ``book/measured`` holds, see `read_study`."""
    machine = environment()
    known = {"study": name, "command": command, "seeds": list(seeds)}
    known |= {"commit": machine.pop("commit"), "seconds": round(seconds, 1), "machine": machine}
    return known | {"result": result}
