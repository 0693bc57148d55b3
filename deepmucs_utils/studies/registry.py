"""Results of studies, as the repository keeps them in ``book/measured``."""

import json

from deepmucs_utils.workflow import params


def read_study(name):
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
    path = params.repository() / "book" / "measured" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))
