from deepmucs_utils.evaluation.table_one import IMAGES, published_table_one


def test_the_papers_table_one_is_quoted_in_its_layout():
    table = published_table_one()
    assert list(table.index) == list(IMAGES)
    assert table.shape == (3, 12)
    assert table.loc["DeepMuCS800", ("mAP", "Det.")] == 70.17  # the first number of the paper's
    assert table.loc["DeepMuCS4000", ("mAPl", "Seg.")] == 84.67  # table, and the last
