"""Where runs stand, or other work: live progress bars in a terminal or a notebook."""

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Sequence

from tqdm import tqdm

from helpers.runs.store import Run

MOST_BARS = 30  # a bar for each run; more do not fit on a screen
BAR = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]"
PAGE_BAR = ('<progress aria-label="{desc}" max="{total}" value="{n}"></progress> {desc}: {percentage:.0f} % '
            "[{elapsed}&lt;{remaining}{postfix}]")


# Takes a run's id, its epoch (from 1), the share of it that is done (0 to 1), and the validation accuracy after the
# last whole epoch (percent; None before).
OnProgress = Callable[[str, int, float, float | None], None]


@contextlib.contextmanager
def progress_bars(runs: Sequence[Run]) -> Iterator[OnProgress]:
    """One bar for each run, or one for all where they are many. They vanish in the end: a notebook keeps none."""
    new_bar = _kind_of_bar()
    bars = {}
    started = set()
    if len(runs) > MOST_BARS:
        total = sum(run.config.num_epochs for run in runs)
        bars[None] = new_bar(total=total, leave=False, mininterval=0.5, desc=f"{len(runs):,} runs", unit=" epochs")
    else:
        for run in runs:
            bars[run.id] = new_bar(total=run.config.num_epochs, position=len(bars), leave=False, mininterval=0.5,
                                   desc=run.title, bar_format=BAR)

    def show(run_id: str, epoch: int, share: float, val_accuracy: float | None) -> None:
        bar = bars.get(run_id) or bars[None]
        done = epoch - 1 + share
        if bar not in started:  # its clock starts here: before, there were no workers yet
            started.add(bar)
            if run_id in bars:  # a resumed run starts where it stands
                bar.n = bar.last_print_n = bar.initial = done
            bar.unpause()
        if run_id not in bars:
            bar.update(int(share))  # whole epochs
            return
        text = f"epoch {epoch}/{bar.total}"
        if val_accuracy is not None:
            text += f", {val_accuracy:.2f} %"
        bar.set_postfix_str(text, refresh=False)
        bar.update(done - bar.n)
        if done == bar.total:
            bar.refresh()  # a full bar is seen, however soon it closes

    with _vanishing(bars.values()):
        yield show


@contextlib.contextmanager
def progress_of_steps(count: int, title: str) -> Iterator[Callable[[], None]]:
    """One bar for `count` steps: call what it yields after each."""
    bar = _kind_of_bar()(total=count, leave=False, desc=title, bar_format=BAR)
    with _vanishing([bar]):
        yield bar.update


@contextlib.contextmanager
def _vanishing(bars: Collection[tqdm]) -> Iterator[None]:
    try:
        yield
    finally:
        for bar in bars:
            bar.close()
        with contextlib.suppress(ImportError, NameError):
            if bars and get_ipython():  # noqa: F821 - defined inside a notebook alone
                from IPython.display import clear_output
                clear_output()


class PageBar(tqdm):
    """A bar as plain HTML. Unlike a widget it can still be read when the page is reloaded or the kernel gone."""

    def __init__(self, **options):
        from IPython.display import HTML, display

        self.output = display(HTML(""), display_id=True)
        options["bar_format"] = PAGE_BAR
        super().__init__(**options, gui=True)  # gui: it is drawn by `display` alone
        self.refresh()

    def display(self, *_, **__) -> None:
        from IPython.display import HTML

        self.output.update(HTML(str(self)))


def _kind_of_bar() -> type:
    """HTML where a front-end draws it, text on stderr elsewhere (a terminal, papermill)."""
    if any(name in os.environ for name in ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG")):
        with contextlib.suppress(NameError):
            get_ipython()  # noqa: F821 - defined inside a notebook alone
            return PageBar
    return tqdm
