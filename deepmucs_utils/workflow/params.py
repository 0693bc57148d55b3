"""The parameters of the notebooks: their names, their checks, and the paths that they mean.

A notebook that takes parameters sets them in one cell tagged ``parameters``, and the next cell
checks them::

    p = params.check(set_name=set_name, fraction=fraction, seed=seed)

papermill itself accepts unknown names and wrong types in silence; here both stop the notebook with
one sentence.
"""

import os
import re
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import deepmucs_utils
from deepmucs_utils import MODELS
from deepmucs_utils.data.cultures import CULTURE_NAMES
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.recipes import SET_NAMES, Recipe, get_recipe

_INJECTED = "# Parameters\n"  # first line of the cell that papermill adds


@dataclass(frozen=True)
class Parameters:
    """Checked parameters; the same names as in the notebooks and on the command line.

    Parameters
    ----------
    data_root : Path, optional
        LIVECell root; None is the phantom.
    set_name : str, optional
        One of `recipes.SET_NAMES`.
    n_images : int, optional
        Size of the set, instead of the one that its name and ``fraction`` give.
    fraction : float
        Share of the set's images and cells, in (0, 1].
    cultures : tuple of str, optional
        Cultures to keep; None is all eight.
    seed : int
        At least 0.
    model : str
        One of `MODELS`.
    iterations : int, optional
        Training iterations; None is the model's own number, or for another batch as many as see
        equally many images.
    batch : int, optional
        Images per iteration; None is the model's own number.
    weights : Path, optional
        Run or checkpoint to start the training from; None is from scratch.
    processes : int, optional
        Processes that train; None is one for each GPU. A run may be resumed with another number.
    out_dir : Path, optional
        Folder of runs and sets; None is the trial folder in the cache.
    """

    data_root: Path | None = None
    set_name: str | None = None
    n_images: int | None = None
    fraction: float = 1.0
    cultures: tuple[str, ...] | None = None
    seed: int = 0
    model: str = "small"
    iterations: int | None = None
    batch: int | None = None
    weights: Path | None = None
    processes: int | None = None
    out_dir: Path | None = None

    def recipe(self) -> Recipe:
        """The recipe of the set, at the size that is asked for."""
        return get_recipe(self.set_name, self.fraction, self.cultures, self.n_images)

    def plain(self) -> dict:
        """The parameters as JSON and papermill take them; paths from the repository where inside.

        Returns
        -------
        dict
            None, numbers, text and lists by name.
        """
        return {name: _plain(value) for name, value in asdict(self).items()}


NAMES = tuple(field.name for field in fields(Parameters))


def check(**values) -> Parameters:
    """Check the parameters of a notebook.

    Parameters
    ----------
    **values
        The parameters that the notebook has, by name. None or empty text is a parameter's default;
        ``cultures`` may be a list or text with commas.

    Returns
    -------
    Parameters

    Raises
    ------
    DeepMuCSError
        If a name or a value is not one that the notebook can take.

    Examples
    --------
    >>> check(set_name="Demo40", fraction=0.1).fraction
    0.1
    >>> check(set_name="Demo41")
    Traceback (most recent call last):
    deepmucs_utils.errors.DeepMuCSError: set_name 'Demo41': unknown; expected one of ...
    """
    _check_names(_injected_names(), values)
    _check_names(values, NAMES)
    given = {name: value for name, value in values.items() if value is not None and value != ""}
    p = Parameters(**{name: _checked(name, value) for name, value in given.items()})
    if p.set_name is not None:
        p.recipe()  # refuses what leaves no cells
    return p


def _check_names(given, known):
    for name in given:
        if name not in known:
            raise DeepMuCSError(
                f"parameter {name!r}: this notebook has none of that name; "
                f"expected some of {', '.join(known)}."
            )


def _injected_names():
    """Names set by the cell that papermill added to the running notebook, if there is one."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    history = shell.user_ns.get("In", []) if shell else []
    cells = [source for source in history if source.startswith(_INJECTED)]
    return re.findall(r"^(\w+) = ", "\n".join(cells), flags=re.MULTILINE)


def _plain(value):
    if isinstance(value, Path):
        inside = value.is_relative_to(repository())
        return value.relative_to(repository()).as_posix() if inside else str(value)
    return list(value) if isinstance(value, tuple) else value


def _checked(name, value):
    """The value that a notebook's ``value`` means, or a refusal."""
    if name == "cultures" and isinstance(value, (str, list)):
        names = value.split(",") if isinstance(value, str) else value
        value = tuple(str(culture).strip() for culture in names)
    if name in ("data_root", "weights", "out_dir") and isinstance(value, (str, Path)):
        value = Path(os.path.abspath(working_folder() / Path(value).expanduser()))
    holds, expected = _RULES[name]
    if not holds(value):
        shown = str(value) if isinstance(value, Path) else value
        raise DeepMuCSError(f"{name} {shown!r}: {expected}.")
    return None if value == () else value


def _are_cultures(value):
    different = isinstance(value, tuple) and len({*value}) == len(value)
    return different and {*value} <= {*CULTURE_NAMES}


def _is_root(value):
    return isinstance(value, Path) and all((value / f).is_dir() for f in ("images", "annotations"))


def _whole(least):
    return (
        lambda value: type(value) is int and value >= least,
        f"expected a whole number of at least {least}, without quotes",
    )


def _one_of(names):
    return names.__contains__, f"unknown; expected one of {', '.join(names)}"


_RULES = {  # what holds of a value, and the end of the sentence where it does not
    "data_root": (
        _is_root,
        "expected a LIVECell root, with the folders images and annotations; leave it empty to use "
        "the phantom",
    ),
    "set_name": _one_of(SET_NAMES),
    "n_images": _whole(1),
    "fraction": (
        lambda value: type(value) in (int, float) and 0 < value <= 1,
        "expected a number above 0 and at most 1",
    ),
    "cultures": (
        _are_cultures,
        f"expected different names of {', '.join(CULTURE_NAMES)}, such as 'A172,BV2'",
    ),
    "seed": _whole(0),
    "model": _one_of(MODELS),
    "iterations": _whole(1),
    "batch": _whole(1),
    "weights": (
        lambda value: isinstance(value, Path) and value.exists(),
        "expected the folder of a run, or a checkpoint",
    ),
    "processes": _whole(1),
    "out_dir": (lambda value: isinstance(value, Path), "expected the path of a folder, as text"),
}


def repository() -> Path:
    """The repository's folder, or the working folder where the package was installed alone."""
    folder = Path(deepmucs_utils.__file__).parents[1]
    return folder if (folder / "notebooks").is_dir() else Path.cwd()


def working_folder() -> Path:
    """The folder that relative paths count from: a notebook's are the repository's."""
    here = Path.cwd()
    return repository() if here == repository() / "notebooks" else here


def cache() -> Path:
    """The folder of derived data: ``DEEPMUCS_CACHE``, or ``.cache`` in the repository."""
    return Path(os.environ.get("DEEPMUCS_CACHE") or repository() / ".cache")
