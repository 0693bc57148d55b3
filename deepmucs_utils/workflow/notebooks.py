"""Executing the notebooks with papermill: one executed copy a notebook and run.

papermill has no resume and calls an interrupted notebook completed. Here a copy gets its name only
when its last cell has run, so what has a name is done and is not repeated.
"""

import logging
import os
import threading
from contextlib import contextmanager

from tqdm import tqdm

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.workflow import params, runs

RUN_NOTEBOOKS = ("25_build_a_subset", "32_train", "40_evaluate")  # executed once for each set


def run_set(
    set_name,
    root=None,
    model="small",
    iterations=None,
    fraction=1.0,
    n_images=None,
    cultures=None,
    seed=0,
    out="runs",
):
    """Compose, train and evaluate one set by its notebooks; a finished stage is not repeated.

    Parameters
    ----------
    set_name : str
        A training set.
    root : path-like, optional
        LIVECell root; default the phantom.
    model, iterations, fraction, n_images, cultures, seed
        See `params.Parameters`.
    out : path-like
        Folder of the runs.

    Returns
    -------
    Path
        The run's ``results.json``.

    Raises
    ------
    DeepMuCSError
        If a parameter is wrong or a notebook fails.
    """
    p = params.check(
        data_root=root,
        set_name=set_name,
        n_images=n_images,
        fraction=fraction,
        cultures=cultures,
        seed=seed,
        model=model,
        iterations=iterations,
        out_dir=out,
    )
    runs.for_split(p, "test")  # refuses a set that is not one to train on
    runs.claim(p)
    folder = runs.run_folder(p)
    copies = [folder / "notebooks" / f"{name}.ipynb" for name in RUN_NOTEBOOKS]
    results = folder / "results.json"
    if not results.is_file():
        copies[-1].unlink(missing_ok=True)  # it writes the results
    for name, copy in zip(RUN_NOTEBOOKS, copies, strict=True):
        print(f"{runs.label(p)}: {name}{' is done' if copy.is_file() else ' …'}", flush=True)
        with training_shown([p]):
            execute(name, copy, p)
    return results


def execute(name, target, p=None):
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
        If a cell fails. The copy up to that cell is kept beside the target, as ``*.failed.ipynb``.
    """
    import papermill

    logging.getLogger("papermill").setLevel(logging.ERROR)
    if target.is_file():
        return target
    source = params.repository() / "notebooks" / f"{name}.ipynb"
    if not source.is_file():
        raise DeepMuCSError(f"{source}: no such notebook; run this from a clone of the repository.")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.stem}.partial.ipynb")
    failed = target.with_name(f"{target.stem}.failed.ipynb")
    try:
        papermill.execute_notebook(
            source,
            partial,
            parameters={} if p is None else _injected(source, p),
            cwd=source.parent,
            kernel_name="python3",
            progress_bar=False,
            extra_arguments=["--IPKernelApp.log_level=40"],  # no advice on encryption
        )
    except papermill.exceptions.PapermillExecutionError as error:
        os.replace(partial, failed)
        if error.ename == "DeepMuCSError":
            raise DeepMuCSError(error.evalue) from None
        raise DeepMuCSError(
            f"{source}: cell {error.exec_count} failed ({error.ename}: {error.evalue}); "
            f"see {failed}."
        ) from None
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    failed.unlink(missing_ok=True)
    os.replace(partial, target)
    return target


def _injected(source, p):
    """Those of the parameters that the notebook has."""
    import papermill

    known = papermill.inspect_notebook(str(source))
    return {name: value for name, value in p.plain().items() if name in known}


@contextmanager
def training_shown(plans):
    """Show on the terminal how far trainings are that go on in other processes.

    Parameters
    ----------
    plans : sequence of Parameters
        Of the runs.
    """
    from deepmucs_utils.segmentation.run_files import read_curves

    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(plans, done, read_curves), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _watch(plans, done, read_curves):
    bar, begun = None, None
    while not done.wait(2.0):
        reached, total = 0, 0
        for p in plans:
            try:
                reached += int(read_curves(runs.run_folder(p)).index[-1])
                total += runs.iterations(p)
            except (DeepMuCSError, OSError, ValueError):
                continue  # not begun, or just being written
        begun = reached if begun is None else begun
        if bar is None and begun < reached < total:
            bar = tqdm(total=total, initial=begun, desc="training", unit="it", disable=None)
        if bar is not None:
            bar.total = total
            bar.update(reached - bar.n)
    if bar is not None:
        bar.close()
