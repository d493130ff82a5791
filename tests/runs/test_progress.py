"""Each run has its live bar, many share one, and none is left."""

import builtins

from helpers.runs import progress
from helpers.runs.progress import progress_bars


def test_every_run_has_its_bar_and_none_is_left(store, make_config, capsys, monkeypatch):
    runs = [store.run(make_config("layer", seed)) for seed in range(3)]
    with progress_bars(runs) as on_progress:
        on_progress(runs[1].id, 1, 1.0, None)
        on_progress(runs[1].id, 2, 1.0, 90.0)
    shown = capsys.readouterr().err
    assert "layer, seed 0" in shown
    assert "layer, seed 1: 100%" in shown
    assert "<00:00, epoch 2/2, 90.00 %]" in shown
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


def test_bars_in_a_notebook_are_plain_html(store, make_config, monkeypatch):
    """Each update says all that is to be seen, so that nothing is left to a widget."""
    shown = []

    class Handle:
        def update(self, html):
            shown.append(html.data)

    monkeypatch.setenv("JPY_SESSION_NAME", "a notebook")
    monkeypatch.setattr(builtins, "get_ipython", object, raising=False)
    monkeypatch.setattr("IPython.display.display", lambda *_, **__: Handle())
    monkeypatch.setattr("IPython.display.clear_output", lambda: shown.append("cleared"))
    run = store.run(make_config("layer", num_epochs=20))
    with progress_bars([run]) as on_progress:
        assert shown[-1].startswith('<progress aria-label="layer, seed 0" max="20" value="0"></progress>')
        on_progress(run.id, 20, 1.0, 98.76)
    assert 'max="20" value="20.0"></progress> layer, seed 0: 100 % [' in shown[-2]
    assert shown[-2].endswith(", epoch 20/20, 98.76 %]")
    assert shown[-1] == "cleared"


def test_the_clock_starts_with_the_first_news_of_a_run(store, make_config, capsys, monkeypatch):
    """Not when its bar is made; and a resumed run starts where it stands."""
    now = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    run = store.run(make_config("layer", num_epochs=20))
    with progress_bars([run]) as on_progress:
        now[0] += 300  # while the workers start
        on_progress(run.id, 11, 0.5, 90.0)
        now[0] += 10
        on_progress(run.id, 12, 0.5, 90.0)
    assert "[00:10<01:25, epoch 12/20, 90.00 %]" in capsys.readouterr().err
