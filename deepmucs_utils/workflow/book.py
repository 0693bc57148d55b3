"""Rendering the book: executed copies staged beside the prose, then a strict Jupyter Book build.

The notebooks under ``notebooks`` stay as they are: what is rendered lies under ``_build/src``.
"""

import base64
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import yaml
from tqdm import tqdm

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import read_json
from deepmucs_utils.workflow import params, runs
from deepmucs_utils.workflow.notebooks import RUN_NOTEBOOKS, execute, training_shown

DEMO_SETS = tuple(p.set_name for p in runs.family(params.check(set_name="Demo40")))
RUNS = "runs"


def build_book() -> Path:
    """Run the demo sets, execute the other notebooks on their results, and render all of it.

    Returns
    -------
    Path
        The rendered book's first page.

    Raises
    ------
    DeepMuCSError
        If a notebook fails or the rendering gives a warning.
    """
    folder = params.repository() / RUNS
    plans = {name: params.check(set_name=name, out_dir=folder) for name in DEMO_SETS}
    _run_side_by_side(plans, folder)
    p = plans[DEMO_SETS[-1]]
    executed = params.repository() / "_build" / "executed" / _state(folder)
    copies = {}
    for name in tqdm(_notebooks(), "notebooks", unit="notebook", disable=None):
        if name not in RUN_NOTEBOOKS:
            copies[name] = execute(name, executed / f"{name}.ipynb", p)
            continue
        for set_name, plan in plans.items():
            place = name if plan is p else f"{set_name}/{name}"
            copies[place] = runs.run_folder(plan) / "notebooks" / f"{name}.ipynb"
    return _render(copies)


def _run_side_by_side(plans, folder):
    """Run several sets at once, one thread each: a small network gains little from more threads."""
    logs = params.repository() / "_build"
    logs.mkdir(exist_ok=True)
    runs.data_root(next(iter(plans.values())))  # written once for all
    processes = {}
    for name in plans:
        command = [sys.executable, "-m", "deepmucs_utils.cli", "run", "--set", name]
        with open(logs / f"{name}.log", "w", encoding="utf-8") as log:
            processes[name] = subprocess.Popen(
                [*command, "--out", str(folder)],
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
            )
    print(f"runs of {', '.join(plans)}; logs: {logs / 'SET.log'}", flush=True)
    try:
        with training_shown(plans.values()):
            codes = {name: process.wait() for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.terminate()  # those that an interruption left running
    for name, code in codes.items():
        if code:
            lines = (logs / f"{name}.log").read_text(encoding="utf-8").strip().splitlines()
            raise DeepMuCSError(f"the run of {name} failed: {lines[-1] if lines else code}")


def render_stored() -> Path:
    """Render the book from the stored notebooks, without executing anything.

    Returns
    -------
    Path
        The rendered book's first page.
    """
    source = params.repository() / "notebooks"
    return _render({name: source / f"{name}.ipynb" for name in _notebooks()})


def store_picture(notebook="23_compose_a_coculture", name="fig-coculture") -> Path:
    """Write a stored notebook's figure to ``book/_static/coculture.png``, for the README.

    Returns
    -------
    Path
    """
    source = params.repository()
    content = read_json(source / "notebooks" / f"{notebook}.ipynb")
    target = source / "book" / "_static" / "coculture.png"
    for cell in content["cells"]:
        if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") == name:
            (data,) = [out["data"] for out in cell["outputs"] if "image/png" in out["data"]]
            target.write_bytes(base64.b64decode("".join(data["image/png"])))
            return target
    raise DeepMuCSError(f"{notebook}: no figure {name!r}; `make notebooks` stores the figures.")


def _notebooks():
    """Names of the notebooks in the order of the table of contents."""
    files = [Path(chapter["file"]) for chapter in _chapters(_toc())]
    return [file.name for file in files if file.parent.name == "notebooks"]


def _toc():
    path = params.repository() / "_toc.yml"
    if not path.is_file():
        raise DeepMuCSError(f"{path}: not there; build the book in a clone of the repository.")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _chapters(toc):
    return [chapter for part in toc["parts"] for chapter in part["chapters"]]


def _state(folder):
    """What changes with the notebooks, the package or the results of the runs."""
    source = params.repository()
    patterns = ("notebooks/*.ipynb", "deepmucs_utils/**/*.py")
    files = [file for pattern in patterns for file in source.glob(pattern)]
    return runs.state([*files, *folder.glob("*/*/results.json")])


def _render(notebooks):
    """Stage notebooks (path by place, ``NAME`` or ``SET/NAME``) beside the prose, and build."""
    source = params.repository()
    stage = source / "_build" / "src"
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(source / "book", stage / "book")
    shutil.copy(source / "_config.yml", stage)
    for place, path in notebooks.items():
        target = stage / "notebooks" / f"{place}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    toc = _toc()
    for chapter in _chapters(toc):
        name = Path(chapter["file"]).name
        sections = [
            {"file": f"notebooks/{place}", "title": place.split("/")[0]}
            for place in notebooks
            if place.endswith(f"/{name}")
        ]
        if sections:
            chapter["sections"] = sections
    (stage / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False), encoding="utf-8")

    log = source / "_build" / "book.log"
    command = [str(Path(sysconfig.get_path("scripts")) / "jupyter-book"), "build", str(stage)]
    command += ["--path-output", str(source), "--all", "-W", "--keep-going"]
    print("rendering the book …", flush=True)
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONWARNINGS": "ignore"}
    )
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    page = source / "_build" / "html" / "index.html"
    if done.returncode or not page.is_file():
        lines = [line for line in done.stderr.splitlines() if "WARNING" in line or "ERROR" in line]
        raise DeepMuCSError(
            f"the book was not rendered; the whole log is {log}; it says: "
            + " | ".join(lines[:5] or done.stderr.splitlines()[-5:])
        )
    return page
