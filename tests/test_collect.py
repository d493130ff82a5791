"""Output folders of a sweep end in one table, one figure and one page that name what varied."""

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from support import made_up_record, make_run_config

from helpers.collect import collected_table, main, read_runs, what_varies
from helpers.results.frames import history_frame


@pytest.fixture
def folders(tiny_data, tmp_path) -> list:
    """Groups 1, 2, 4 of GroupNorm, two penalties of BatchNorm, two seeds each; the first folder stands there twice."""
    made = {}
    for groups in (1, 2, 4):
        made[f"groups-{groups}"] = ("group", {"num_groups": groups}, {})
    for penalty in (1e-5, 1e-3):
        made[f"l1-{penalty}"] = ("batch", {}, {"l1_lambda": penalty})
    for name, (norm, config, recipe) in made.items():
        runs = [made_up_record(make_run_config(norm, seed), tiny_data, num_wrong=3 * seed + 3) for seed in (0, 1)]
        for run in runs:
            run["config"] |= config
            run["config"]["recipe"] = {**run["config"]["recipe"], **recipe}
        (tmp_path / name).mkdir()
        history_frame(runs).to_csv(tmp_path / name / "results.csv", index=False)
    return [tmp_path / name for name in [*made, "groups-1"]]


def test_what_varied_is_named_and_seeds_are_repetitions(folders):
    runs = read_runs(folders)
    assert len(runs) == 10, "each run once"
    assert what_varies(runs) == ["num_groups", "l1_lambda"]
    table = collected_table(runs)
    assert list(table.index) == [
        "GroupNorm, num_groups 1", "GroupNorm, num_groups 2", "GroupNorm, num_groups 4",
        "L1 + BatchNorm, l1_lambda 1e-05", "L1 + BatchNorm, l1_lambda 0.001"]
    assert set(table.seeds) == {2} and set(table["accuracy (%)"]) == {"85.00"}  # 3 and 6 of 30 wrong
    assert set(table["± (95 %)"]) == {"63.53"}  # t of 1 degree of freedom, 12.706, times 5


def test_one_page_says_what_varied_and_what_came_out(folders, tmp_path, capsys):
    assert main([*map(str, folders), "--output-dir", str(tmp_path / "all")]) == 0
    assert "What varied: num_groups and l1_lambda." in capsys.readouterr().out
    page = BeautifulSoup((tmp_path / "all" / "collected.html").read_text(), "html.parser")
    assert "num_groups and l1_lambda" in page.get_text() and len(page.select("tbody tr")) == 5 and page.svg
    assert len(pd.read_csv(tmp_path / "all" / "collected.csv")) == 10
    assert (tmp_path / "all" / "collected.svg").exists()
    assert str(tmp_path) not in str(page), "no path of this machine"


def test_a_folder_without_results_is_one_line(folders, tmp_path, capsys):
    assert main([str(tmp_path), "--output-dir", str(tmp_path / "all")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    (folders[0] / "results.csv").write_text("a,b\n1,2\n")
    assert main([str(folders[0]), "--output-dir", str(tmp_path / "all")]) == 2
    assert "has no column dataset" in capsys.readouterr().err
