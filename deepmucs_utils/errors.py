"""The one exception that a user of the package is meant to see."""


class DeepMuCSError(ValueError):
    """Something outside the code is wrong: a file, a record, a parameter.

    The message is one sentence for the person at the keyboard: it names the file and the record,
    what was found, what was expected and what to do. The command line prints it without a
    traceback and exits with 2; a notebook shows it in one line.
    """

    def _render_traceback_(self):
        """What IPython shows in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]
