"""Each run has its live bar, many share one, and none is left."""

from helpers.runs import progress
from helpers.runs.progress import progress_bars
from helpers.runs.store import Store


def test_every_run_has_its_bar_and_none_is_left(tiny_data, make_config, tmp_path, capsys, monkeypatch):
    runs = [Store(tmp_path, tiny_data).run(make_config("layer", seed)) for seed in range(3)]
    with progress_bars(runs) as on_progress:
        on_progress(runs[1].id, 1, 1.0, None)
        on_progress(runs[1].id, 2, 1.0, 90.0)
    shown = capsys.readouterr().err
    assert "layer, seed 0" in shown
    assert "layer, seed 1: 100%" in shown
    assert "epoch 2/2, 90.00 %" in shown
    assert shown.rpartition("\r")[2].strip(" \n\x1b[A") == "", "the last line is cleared"
    monkeypatch.setattr(progress, "MOST_BARS", 2)
    with progress_bars(runs) as on_progress:
        on_progress(runs[1].id, 1, 1.0, None)
    shown = capsys.readouterr().err
    assert "3 runs" in shown
    assert "layer, seed" not in shown
    with progress_bars([]):
        pass
    assert capsys.readouterr().err == "", "nothing is trained, so there is no bar"
