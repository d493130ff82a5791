"""Where runs stand: live progress bars in a terminal or a notebook."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from helpers.runs.store import Run

MOST_BARS = 30  # a bar for each run; more do not fit on a screen


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    epoch: int                  # the one under way, from 1
    batch: int                  # batches done in it
    num_batches: int            # of an epoch
    num_epochs: int
    val_accuracy: float | None  # percent, after the last whole epoch


OnProgress = Callable[[str, Progress], None]  # takes a run's id


@contextlib.contextmanager
def progress_bars(runs: Sequence[Run]) -> Iterator[OnProgress]:
    """One bar for each run, or one for all where they are many. They vanish in the end: a notebook keeps none."""
    if not runs:
        yield lambda run_id, progress: None
        return
    bars = _OneBar(runs) if len(runs) > MOST_BARS else _Bars(runs)
    try:
        yield bars.show
    finally:
        bars.close()
        with contextlib.suppress(ImportError, NameError):
            get_ipython()  # noqa: F821 - defined inside a notebook alone
            from IPython.display import clear_output
            clear_output()


class _Bars:
    """A bar for each run."""

    FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]"

    def __init__(self, runs: Sequence[Run]):
        self.bars = {}
        for index, run in enumerate(runs):
            self.bars[run.id] = _tqdm()(
                total=1, position=index, leave=False, mininterval=0.5, desc=run.title, bar_format=self.FORMAT)

    def show(self, run_id: str, progress: Progress) -> None:
        bar = self.bars[run_id]
        done = (progress.epoch - 1) * progress.num_batches + progress.batch
        if bar.total == 1:  # a resumed run starts where it stands, so that the time left is right
            bar.initial = done
        bar.total = progress.num_epochs * progress.num_batches
        text = f"epoch {progress.epoch}/{progress.num_epochs}"
        if progress.val_accuracy is not None:
            text += f", {progress.val_accuracy:.2f} %"
        bar.set_postfix_str(text, refresh=False)
        bar.update(done - bar.n)
        if done == bar.total:
            bar.refresh()  # a full bar is seen, however soon it closes

    def close(self) -> None:
        for bar in self.bars.values():
            bar.close()


class _OneBar:
    """A bar of epochs for many runs."""

    def __init__(self, runs: Sequence[Run]):
        total = sum(run.config.num_epochs for run in runs)
        self.bar = _tqdm()(total=total, leave=False, mininterval=0.5, desc=f"{len(runs):,} runs", unit=" epochs")

    def show(self, run_id: str, progress: Progress) -> None:
        if progress.batch == progress.num_batches:
            self.bar.update()

    def close(self) -> None:
        self.bar.close()


def _tqdm() -> type:
    """Bars as widgets where a front-end draws them, as text on stderr elsewhere (a terminal, papermill)."""
    from tqdm import tqdm

    if any(name in os.environ for name in ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG")):
        with contextlib.suppress(ImportError):
            import ipywidgets  # noqa: F401 - tqdm.notebook only warns when it is missing
            from tqdm.notebook import tqdm
    return tqdm
