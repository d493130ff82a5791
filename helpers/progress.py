"""Live progress bars of many runs, in a terminal or a notebook."""

import contextlib
import os
from collections.abc import Callable, Iterator

from helpers.config import RunConfig
from helpers.training import Progress

MOST_BARS = 30  # a bar for each run; more do not fit on a screen


@contextlib.contextmanager
def progress_bars(todo: dict[str, RunConfig]) -> Iterator[Callable[[str, Progress], None]]:
    """One bar for each run, or one for all where they are many; gone when all are done: a saved notebook holds none."""
    if not todo:
        yield lambda name, progress: None
        return
    bars = (_OneBar if len(todo) > MOST_BARS else _Bars)(todo)
    try:
        yield bars
    finally:
        bars.close()
        with contextlib.suppress(ImportError, NameError):
            get_ipython()  # noqa: F821 - defined inside a notebook alone
            from IPython.display import clear_output
            clear_output()


class _Bars:
    """A bar for each run."""

    def __init__(self, todo: dict[str, RunConfig]):
        self.bars = {name: _tqdm()(total=1, position=i, leave=False, mininterval=0.5,
                                   desc=f"{config.norm}, seed {config.seed}",
                                   bar_format="{desc}: {percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]")
                     for i, (name, config) in enumerate(todo.items())}

    def __call__(self, name: str, progress: Progress) -> None:
        bar = self.bars[name]
        done = (progress.epoch - 1) * progress.num_batches + progress.batch
        if bar.total == 1:  # a resumed run starts where it stands, so that the time left is right
            bar.initial = done
        bar.total = progress.num_epochs * progress.num_batches
        accuracy = "" if progress.val_accuracy is None else f", {progress.val_accuracy:.2f} %"
        bar.set_postfix_str(f"epoch {progress.epoch}/{progress.num_epochs}{accuracy}", refresh=False)
        bar.update(done - bar.n)
        if done == bar.total:
            bar.refresh()  # a full bar is seen, however soon it closes

    def close(self) -> None:
        for bar in self.bars.values():
            bar.close()


class _OneBar:
    """A bar of epochs for many runs."""

    def __init__(self, todo: dict[str, RunConfig]):
        self.bar = _tqdm()(total=sum(config.num_epochs for config in todo.values()), leave=False, mininterval=0.5,
                           desc=f"{len(todo):,} runs", unit=" epochs")

    def __call__(self, name: str, progress: Progress) -> None:
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
