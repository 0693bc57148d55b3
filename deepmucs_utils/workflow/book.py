"""Rendering the book: executed copies staged beside the prose, then a strict Jupyter Book build.

The notebooks under ``notebooks`` stay as they are: what is rendered lies under ``_build/src``.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from tqdm import tqdm

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.workflow import params, runs
from deepmucs_utils.workflow.notebooks import RUN_NOTEBOOKS, execute, training_shown

DEMO_SETS = tuple(p.set_name for p in runs.family(params.check(set_name="Demo40")))
RUNS = "runs"


def build_book():
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
    _run_side_by_side(DEMO_SETS, folder)
    p = params.check(set_name=DEMO_SETS[-1], out_dir=folder)
    executed = params.repository() / "_build" / "executed" / _state(folder)
    copies = {}
    for name in tqdm(_notebooks(), "notebooks", unit="notebook", disable=None):
        if name not in RUN_NOTEBOOKS:
            copies[name] = execute(name, executed / f"{name}.ipynb", p)
    pages = {}
    for set_name in DEMO_SETS:
        run = runs.run_folder(params.check(set_name=set_name, out_dir=folder))
        pages[set_name] = {name: run / "notebooks" / f"{name}.ipynb" for name in RUN_NOTEBOOKS}
    return _render(copies | pages[DEMO_SETS[-1]], pages)


def _run_side_by_side(set_names, folder):
    """Run several sets at once, a thread each: a small network gains little from more threads."""
    logs = params.repository() / "_build"
    logs.mkdir(exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    plans = [params.check(set_name=name, out_dir=folder) for name in set_names]
    runs.data_root(plans[0])
    processes = []
    for name in set_names:
        command = [sys.executable, "-m", "deepmucs_utils.cli", "run", "--set", name]
        with open(logs / f"{name}.log", "w") as log:
            processes.append(
                subprocess.Popen(
                    [*command, "--out", str(folder)], env=environment, stdout=log, stderr=log
                )
            )
    print(f"runs of {', '.join(set_names)}; logs: {logs}/SET.log", flush=True)
    try:
        with training_shown(plans):
            codes = [process.wait() for process in processes]
    finally:
        for process in processes:
            process.terminate()  # those that an interruption left running
    for name, code in zip(set_names, codes, strict=True):
        if code:
            lines = (logs / f"{name}.log").read_text().strip().splitlines()
            raise DeepMuCSError(f"the run of {name} failed: {lines[-1] if lines else code}")


def render_stored():
    """Render the book from the stored notebooks, without executing anything.

    Returns
    -------
    Path
        The rendered book's first page.
    """
    source = params.repository() / "notebooks"
    return _render({name: source / f"{name}.ipynb" for name in _notebooks()}, {})


def store_picture(notebook="23_compose_a_coculture", name="fig-coculture"):
    """Write a stored notebook's figure to ``book/_static/coculture.png``, for the README.

    Returns
    -------
    Path
    """
    source = params.repository()
    content = json.loads((source / "notebooks" / f"{notebook}.ipynb").read_text())
    target = source / "book" / "_static" / "coculture.png"
    for cell in content["cells"]:
        if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") == name:
            (data,) = [out["data"] for out in cell["outputs"] if "image/png" in out["data"]]
            target.write_bytes(base64.b64decode("".join(data["image/png"])))
            return target
    raise DeepMuCSError(f"{notebook}: no figure {name!r}; `make notebooks` stores the figures.")


def _notebooks():
    """Names of the notebooks in the order of the table of contents."""
    toc = yaml.safe_load((_source() / "_toc.yml").read_text())
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [Path(file).name for file in files if file.startswith("notebooks/")]


def _source():
    folder = params.repository()
    if not (folder / "_toc.yml").is_file():
        raise DeepMuCSError(f"{folder}: no _toc.yml; build the book in a clone of the repository.")
    return folder


def _state(folder):
    """Sixteen digits that change with the notebooks, the package or the results of the runs."""
    source = _source()
    files = sorted(
        [*source.glob("notebooks/*.ipynb"), *source.glob("deepmucs_utils/**/*.py")]
        + [*folder.glob("*/*/results.json")]
    )
    state = hashlib.sha256()
    for file in files:
        state.update(f"{file.relative_to(source)}\0".encode() + file.read_bytes())
    return state.hexdigest()[:16]


def _render(notebooks, pages):
    """Stage ``notebooks`` (path by name) and the runs' ``pages`` (the same by set), and build."""
    source = _source()
    stage = source / "_build" / "src"
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(source / "book", stage / "book")
    shutil.copy(source / "_config.yml", stage)
    (stage / "notebooks").mkdir()
    for name, path in notebooks.items():
        shutil.copy(path, stage / "notebooks" / f"{name}.ipynb")
    for set_name, by_name in pages.items():
        (stage / "notebooks" / set_name).mkdir()
        for name, path in by_name.items():
            shutil.copy(path, stage / "notebooks" / set_name / f"{name}.ipynb")
    toc = yaml.safe_load((source / "_toc.yml").read_text())
    for part in toc["parts"]:
        for chapter in part["chapters"]:
            name = Path(chapter["file"]).name
            if pages and name in RUN_NOTEBOOKS:
                chapter["sections"] = [
                    {"file": f"notebooks/{set_name}/{name}", "title": set_name}
                    for set_name in pages
                    if pages[set_name][name] != notebooks[name]
                ]
    (stage / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False))

    log = source / "_build" / "book.log"
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(stage)]
    command += ["--path-output", str(source), "--all", "-W", "--keep-going"]
    print("rendering the book …", flush=True)
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONWARNINGS": "ignore"}
    )
    log.write_text(done.stdout + done.stderr)
    page = source / "_build" / "html" / "index.html"
    if done.returncode or not page.is_file():
        lines = [line for line in done.stderr.splitlines() if "WARNING" in line or "ERROR" in line]
        raise DeepMuCSError(
            f"the book was not rendered; the whole log is {log}; it says: "
            + " | ".join(lines[:5] or done.stderr.splitlines()[-5:])
        )
    return page
