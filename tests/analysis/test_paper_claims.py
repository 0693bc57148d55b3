"""The paper's own numbers hold what the paper says; other numbers hold or break it."""

import pandas as pd
import pytest

from deepmucs_utils.analysis.paper_claims import CLAIMS, check_claims
from deepmucs_utils.evaluation.intervals import Bootstrap

CULTURES = ["A172", "BV2", "MCF7", "SHSY5Y", "SkBr3"]
#: The numbers that the paper names (section V); the others lie between.
PAPER = [
    [76.15, 60.11, 70, 62.81, 77.86],
    [82, 72, 75, 70, 81],
    [83.24, 73, 76, 70.63, 82],
]


def result(aps, replicates=(), n=100, cultures=CULTURES):
    """A bootstrap with the given APs, then replicates like it."""
    names = [f"model {number}" for number in range(len(aps))]
    draws = [aps, *(replicates or [aps])]
    by_culture = pd.DataFrame(
        {
            (name, culture): [draw[i][j] for draw in draws]
            for i, name in enumerate(names)
            for j, culture in enumerate(cultures)
        }
    )
    models = pd.DataFrame(
        [{"model": m, "culture": c, "n": n} for m in names for c in ["all", *cultures]]
    )
    return Bootstrap(models, pd.DataFrame(), by_culture, 5, "")


def test_all_that_the_paper_says_holds_on_the_papers_numbers():
    table = check_claims(result(PAPER))
    assert list(table["held"]) == ["held"] * len(CLAIMS) and (table["share"] == 100).all()
    assert table["here"][0] == "best SkBr3 77.9, A172 76.2; worst BV-2 60.1, SH-SY5Y 62.8"


def test_a_statement_that_fails_says_what_was_found_and_how_sure_it_is():
    swapped = [[77, 60, 70, 63, 76], *PAPER[1:]]  # A172 before SkBr3
    table = check_claims(result(swapped, replicates=[swapped, PAPER, PAPER, PAPER])).set_index(
        "statement"
    )
    row = table.loc["smallest set: SkBr3 is best"]
    assert row["held"] == "not held" and row["share"] == 75
    fallen = [PAPER[0], PAPER[1], [83, 71, 76, 71, 82]]
    row = (
        check_claims(result(fallen))
        .set_index("statement")
        .loc["every culture improves with every larger set"]
    )
    assert row["held"] == "not held" and row["here"].endswith("another: BV-2")


@pytest.mark.parametrize("change", [dict(n=29), dict(aps=PAPER[:2])])
def test_too_few_cells_or_models_make_a_statement_untestable(change):
    table = check_claims(result(**({"aps": PAPER} | change)))
    assert set(table["held"]) == {"not testable"}


def test_a_culture_that_is_lacking_makes_only_its_statements_untestable():
    aps = [[row[0], *row[2:]] for row in PAPER]
    table = check_claims(result(aps, cultures=[c for c in CULTURES if c != "BV2"])).set_index(
        "statement"
    )
    assert table.loc["smallest set: BV-2 is worst", "held"] == "not testable"
    assert table.loc["smallest set: SkBr3 is best", "held"] == "held"
