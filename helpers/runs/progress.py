"""Where runs stand: live progress bars in a terminal or a notebook."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

from helpers.runs.store import Run

MOST_BARS = 30  # a bar for each run; more do not fit on a screen
BAR = "{desc}: {percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]"


# Takes a run's id, its epoch (from 1), the share of it that is done (0 to 1), and the validation accuracy after the
# last whole epoch (percent; None before).
OnProgress = Callable[[str, int, float, float | None], None]


@contextlib.contextmanager
def progress_bars(runs: Sequence[Run]) -> Iterator[OnProgress]:
    """One bar for each run, or one for all where they are many. They vanish in the end: a notebook keeps none."""
    new_bar = _tqdm()
    bars = {}
    if len(runs) > MOST_BARS:
        total = sum(run.config.num_epochs for run in runs)
        bars[None] = new_bar(total=total, leave=False, mininterval=0.5, desc=f"{len(runs):,} runs", unit=" epochs")
    else:
        for run in runs:
            bars[run.id] = new_bar(total=run.config.num_epochs, position=len(bars), leave=False, mininterval=0.5,
                                   desc=run.title, bar_format=BAR)

    def show(run_id: str, epoch: int, share: float, val_accuracy: float | None) -> None:
        if run_id not in bars:
            bars[None].update(int(share))  # whole epochs
            return
        bar = bars[run_id]
        done = epoch - 1 + share
        if not bar.n:  # a resumed run starts where it stands, so that the time left is right
            bar.initial = done
        text = f"epoch {epoch}/{bar.total}"
        if val_accuracy is not None:
            text += f", {val_accuracy:.2f} %"
        bar.set_postfix_str(text, refresh=False)
        bar.update(done - bar.n)
        if done == bar.total:
            bar.refresh()  # a full bar is seen, however soon it closes

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()
        with contextlib.suppress(ImportError, NameError):
            if bars and get_ipython():  # noqa: F821 - defined inside a notebook alone
                from IPython.display import clear_output
                clear_output()


def _tqdm() -> type:
    """Bars as widgets where a front-end draws them, as text on stderr elsewhere (a terminal, papermill)."""
    from tqdm import tqdm

    if any(name in os.environ for name in ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG")):
        with contextlib.suppress(ImportError):
            import ipywidgets  # noqa: F401 - tqdm.notebook only warns when it is missing
            from tqdm.notebook import tqdm
    return tqdm
