"""Executing the notebooks with papermill: one executed copy per notebook and run.

papermill cannot resume, and calls an interrupted notebook completed. Here a copy gets its name only
when its last cell has run, so what has a name is done and is not repeated.
"""

import logging
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, wait
from pathlib import Path

from tqdm import tqdm

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.workflow import params, runs
from deepmucs_utils.workflow.params import Parameters

RUN_NOTEBOOKS = ("25_build_a_subset", "32_train", "40_evaluate")  # executed once per set


def run_sets(plans: list[Parameters]) -> list[Path]:
    """Run several sets at once by `run_set`, and show how far their trainings are.

    Parameters
    ----------
    plans : list of Parameters
        One set each. Every run is a process of its own with its share of the cores: a small network
        gains little from more threads.

    Returns
    -------
    list of Path
        The runs' ``results.json``.
    """
    spawn = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // len(plans))
    with ProcessPoolExecutor(len(plans), spawn, _use_threads, (threads,)) as pool:
        work = [pool.submit(run_set, p) for p in plans]
        _show_training(plans, work)
        return [one.result() for one in work]


def _use_threads(number):
    os.environ["OMP_NUM_THREADS"] = str(number)


def run_set(p: Parameters) -> Path:
    """Compose, train and evaluate one set by its notebooks; a finished stage is not repeated.

    Parameters
    ----------
    p : Parameters
        With a training set.

    Returns
    -------
    Path
        The run's ``results.json``.

    Raises
    ------
    DeepMuCSError
        If a parameter is wrong or a notebook fails.
    """
    runs.for_split(p, "test")  # refuses a set that is not one to train on
    runs.claim(p)
    folder = runs.run_folder(p)
    results = folder / "results.json"
    copies = {name: folder / "notebooks" / f"{name}.ipynb" for name in RUN_NOTEBOOKS}
    if not results.is_file():
        copies[RUN_NOTEBOOKS[-1]].unlink(missing_ok=True)  # it writes the results
    for name, copy in copies.items():
        print(f"{runs.label(p)}: {name}{' is done' if copy.is_file() else ' …'}", flush=True)
        execute(name, copy, p)
    return results


def execute(name: str, target: Path, p: Parameters | None = None) -> Path:
    """Execute a notebook from a clean kernel, unless its executed copy is there.

    Parameters
    ----------
    name : str
        File name in ``notebooks``, without ending.
    target : Path
        The executed copy.
    p : Parameters, optional
        Injected; default are the notebook's own.

    Returns
    -------
    Path
        ``target``.

    Raises
    ------
    DeepMuCSError
        If a cell fails. The copy up to that cell is kept beside the target, as ``*.partial.ipynb``.
    """
    import papermill

    if target.is_file():
        return target
    source = params.repository() / "notebooks" / f"{name}.ipynb"
    if not source.is_file():
        raise DeepMuCSError(f"{source}: no such notebook; run this from a clone of the repository.")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial.ipynb")
    known = papermill.inspect_notebook(str(source))
    given = {} if p is None else p.plain()
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        papermill.execute_notebook(
            source,
            partial,
            parameters={key: value for key, value in given.items() if key in known},
            cwd=source.parent,
            kernel_name="python3",
            progress_bar=False,
            extra_arguments=["--IPKernelApp.log_level=40"],  # no advice on encryption
        )
    except papermill.exceptions.PapermillExecutionError as error:
        if error.ename == "DeepMuCSError":
            raise DeepMuCSError(error.evalue) from None
        raise DeepMuCSError(
            f"{source}: cell {error.exec_count} failed ({error.ename}: {error.evalue}); "
            f"see {partial}."
        ) from None
    os.replace(partial, target)
    return target


def _show_training(plans, work):
    """Show how far trainings are until the work is done; in a log file every ten seconds."""
    bar = None
    while wait(work, 2 if sys.stderr.isatty() else 10).not_done:
        reached, total = (sum(numbers) for numbers in zip(*map(_progress, plans), strict=True))
        if bar is None and reached:
            bar = tqdm(desc="training", total=total, initial=reached, unit="it", mininterval=0)
        elif bar is not None:
            bar.total = total
            bar.update(reached - bar.n)
    if bar is not None:
        bar.close()


def _progress(p):
    """Iterations that a run has reached, and all of them; zeros before its training begins."""
    from deepmucs_utils.segmentation.run_files import read_curves

    try:
        return int(read_curves(runs.run_folder(p)).index[-1]), runs.iterations(p)
    except (DeepMuCSError, OSError, ValueError):
        return 0, 0
