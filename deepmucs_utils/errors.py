"""The one exception that a user of the package is meant to see."""

DETECTRON2 = (
    "python -m pip install --no-deps --only-binary=:all: --python-version 3.10 --target"
    """ "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" """
    "sal-detectron2==0.7.2"
)


class DeepMuCSError(ValueError):
    """Something outside the code is wrong: a file, a record, a parameter.

    The message is one sentence for the person at the keyboard: it names the file and the record,
    what was found, what was expected and what to do. The command line prints it without a
    traceback and exits with 2; a notebook shows it in one line.
    """

    def _render_traceback_(self):
        """What IPython shows in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


def missing(module):
    """The error to raise where a module is not installed.

    Parameters
    ----------
    module : str
        Its name; ``name`` of a ModuleNotFoundError.

    Returns
    -------
    DeepMuCSError
        With the command that installs it.
    """
    module = module.split(".")[0]
    if module == "detectron2":
        return DeepMuCSError(f"{module} is not installed; install it by: {DETECTRON2}")
    return DeepMuCSError(
        f"{module} is not installed; training and prediction need the extra `train`, notebooks and "
        'book the extra `book`; in the repository, install both by: pip install ".[train,book]"'
    )
