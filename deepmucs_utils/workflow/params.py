"""The parameters of the notebooks: their names, their checks, and the paths that they mean.

A notebook that takes parameters sets them in one cell tagged ``parameters``, and the next cell
checks them::

    p = params.check(set_name=set_name, fraction=fraction, seed=seed)

papermill itself accepts unknown names and wrong types in silence; here both stop the notebook with
one sentence.
"""

import ast
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import deepmucs_utils
from deepmucs_utils import MODELS
from deepmucs_utils.data.cultures import CULTURE_NAMES
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.recipes import SET_NAMES, get_recipe

INJECTED = "# Parameters\n"  # first line of the cell that papermill adds


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
        Training iterations; None is the model's own number.
    out_dir : Path, optional
        Folder of runs and sets; None is the trial folder in the cache.
    """

    data_root: Path | None = None
    set_name: str | None = None
    n_images: int | None = None
    fraction: float = 1.0
    cultures: tuple | None = None
    seed: int = 0
    model: str = "small"
    iterations: int | None = None
    out_dir: Path | None = None

    def plain(self):
        """The parameters as JSON and papermill take them; paths from the repository where inside.

        Returns
        -------
        dict
            None, numbers, text and lists by name.
        """
        return {name: _plain(value) for name, value in asdict(self).items()}


NAMES = tuple(Parameters.__dataclass_fields__)


def check(**values):
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
    check_names(_injected_names(), values)
    given = {name: value for name, value in values.items() if value is not None and value != ""}
    p = Parameters(**{name: _CHECKS[name](name, value) for name, value in given.items()})
    if p.set_name is not None:
        get_recipe(p.set_name, p.fraction, p.cultures, p.n_images)  # refuses what leaves nothing
    return p


def check_names(given, known):
    """Refuse names that are not parameters.

    Parameters
    ----------
    given, known : iterable of str
    """
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
    cells = [source for source in history if source.startswith(INJECTED)]
    return [
        target.id
        for cell in cells
        for statement in ast.parse(cell).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
    ]


def _plain(value):
    if isinstance(value, Path):
        inside = value.is_relative_to(repository())
        return value.relative_to(repository()).as_posix() if inside else str(value)
    return list(value) if isinstance(value, tuple) else value


def _integer(least):
    def checked(name, value):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise DeepMuCSError(
                f"{name} {value!r}: expected a whole number of at least {least}, without quotes."
            )
        return value

    return checked


def _fraction(name, value):
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise DeepMuCSError(f"{name} {value!r}: expected a number above 0 and at most 1.")
    return float(value)


def _one_of(known):
    def checked(name, value):
        if value not in known:
            raise DeepMuCSError(f"{name} {value!r}: unknown; expected one of {', '.join(known)}.")
        return value

    return checked


def _cultures(name, value):
    names = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or len(set(map(str, names))) != len(names):
        raise DeepMuCSError(f"{name} {value!r}: expected different names, such as 'A172,BV2'.")
    return tuple(_one_of(CULTURE_NAMES)(name, culture) for culture in names) or None


def _path(name, value):
    if not isinstance(value, (str, Path)):
        raise DeepMuCSError(f"{name} {value!r}: expected the path of a folder, as text.")
    return Path(os.path.abspath(working_folder() / Path(value).expanduser()))


def _root(name, value):
    path = _path(name, value)
    for folder in (path, path / "images", path / "annotations"):
        if not folder.is_dir():
            raise DeepMuCSError(
                f"{name} {str(value)!r}: no folder {folder}; expected a LIVECell root with the "
                "folders images and annotations; leave it empty to use the phantom."
            )
    return path


_CHECKS = {
    "data_root": _root,
    "set_name": _one_of(SET_NAMES),
    "n_images": _integer(1),
    "fraction": _fraction,
    "cultures": _cultures,
    "seed": _integer(0),
    "model": _one_of(MODELS),
    "iterations": _integer(1),
    "out_dir": _path,
}


def repository():
    """The repository's folder, or the working folder where the package was installed alone."""
    folder = Path(deepmucs_utils.__file__).parents[1]
    return folder if (folder / "notebooks").is_dir() else Path.cwd()


def working_folder():
    """The folder that relative paths count from: a notebook's are the repository's."""
    here = Path.cwd()
    return repository() if here == repository() / "notebooks" else here


def cache():
    """The folder of derived data: ``DEEPMUCS_CACHE``, or ``.cache`` in the repository."""
    return Path(os.environ.get("DEEPMUCS_CACHE") or repository() / ".cache")
