"""Rendering the book: executed copies staged beside the prose, then a strict Jupyter Book build.

The notebooks under ``notebooks`` stay as they are: what is rendered lies under ``_build/src``.
"""

import base64
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import yaml
from tqdm import tqdm

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import read_json
from deepmucs_utils.workflow import params, runs
from deepmucs_utils.workflow.notebooks import RUN_NOTEBOOKS, execute, run_sets


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
    source = params.repository()
    folder = source / "runs"
    plans = runs.family(params.check(set_name="Demo40", out_dir=folder))
    run_sets(plans)
    # Executed again when the notebooks, the package or the results of the runs change.
    files = [*source.glob("notebooks/*.ipynb"), *source.glob("deepmucs_utils/**/*.py")]
    state = runs.state([*files, *folder.glob("*/*/results.json")])
    largest, copies = plans[-1], {}
    for name in tqdm(_notebooks(), "notebooks", unit="notebook", disable=None):
        if name not in RUN_NOTEBOOKS:
            target = source / "_build" / "executed" / state / f"{name}.ipynb"
            copies[name] = execute(name, target, largest)
            continue
        for p in plans:
            place = name if p is largest else f"{p.set_name}/{name}"
            copies[place] = runs.run_folder(p) / "notebooks" / f"{name}.ipynb"
    return _render(copies)


def render_stored() -> Path:
    """Render the book from the stored notebooks, without executing anything.

    Returns
    -------
    Path
        The rendered book's first page.
    """
    source = params.repository() / "notebooks"
    return _render({name: source / f"{name}.ipynb" for name in _notebooks()})


def store_picture() -> Path:
    """Write the figure of notebook 23 to ``book/_static/coculture.png``, for the README.

    Returns
    -------
    Path
    """
    source = params.repository()
    content = read_json(source / "notebooks" / "23_compose_a_coculture.ipynb")
    target = source / "book" / "_static" / "coculture.png"
    shown = [
        output["data"]["image/png"]
        for cell in content["cells"]
        if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") == "fig-coculture"
        for output in cell["outputs"]
        if "image/png" in output.get("data", {})
    ]
    if not shown:
        raise DeepMuCSError("notebook 23 shows no figure; store its figures by `make notebooks`.")
    target.write_bytes(base64.b64decode("".join(shown[0])))
    return target


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
