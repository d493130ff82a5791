"""Shared by the tests: paths, running a command as a user would, records without the clock, made-up records."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from helpers.config import RECIPES, RunConfig
from helpers.data import Dataset
from helpers.runs.store import Store, run_id
from helpers.training import VERSION

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
MAIN = NOTEBOOKS / "mnist_normalization.ipynb"


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """`python -m` ... as a user would, without MNIST and without a mirror that answers."""
    environment = {**os.environ, "MNIST_MIRRORS": "http://127.0.0.1:9/", "PYTHONPATH": ""}
    environment.pop("MNIST_DATA_DIR", None)
    return subprocess.run([sys.executable, "-m", *command], cwd=cwd, env=environment, capture_output=True, text=True,
                          timeout=280)


def without_pictures(text: str) -> str:
    """The same without encoded pictures, which spell any short word by chance."""
    return re.sub(r"[A-Za-z0-9+/]{200,}", "", text.replace("\\n", ""))


def without_clock(record: dict) -> dict:
    """A record without the seconds: what is left must be the same to the bit."""
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in record["history"]]
    return {**record, "history": rows}


def make_run_config(norm: str = "group", seed: int = 0, num_epochs: int = 2, recipe: str = "tuned",
                    **changes) -> RunConfig:
    """A RunConfig with batches of 16; `changes` go to the recipe."""
    own = replace(RECIPES[recipe], **{"batch_size": 16, **changes})
    return RunConfig(norm, seed, num_epochs, own, 2 if norm == "group" else None)


def made_up_record(config: RunConfig, data: Dataset, num_wrong: int = 3) -> dict:
    """A whole record of a run that was never trained, as the store would keep it."""
    num_val = len(data.val_labels)
    correct = num_val - num_wrong
    row = {"lr": 0.1, "train_loss": 0.2, "l1_penalty": 0.0, "train_accuracy": 97.0, "val_loss": 0.1,
           "val_accuracy": 100 * correct / num_val, "val_correct": correct, "seconds": 1.5}
    labels = data.val_labels.tolist()
    record = {
        "run_id": run_id(config, data.fingerprint), "version": VERSION, "config": config.to_dict(),
        "dataset": {"name": data.name, "title": data.title, "fingerprint": data.fingerprint,
                    "num_train": len(data.train_labels), "num_val": num_val},
        "num_parameters": 75_080 if config.norm == "layer" else 10_832,
        "history": [{"epoch": epoch, **row} for epoch in range(1, config.num_epochs + 1)],
        "wrong": [[i, labels[i], (labels[i] + 1) % 10, 0.6, 0.3] for i in range(num_wrong)],
        "near_zero": 0.25, "gamma": [1.0] * 6, "environment": {"python": "3", "torch": "2"}}
    if config.norm == "batch":
        record["batch_statistics"] = {"val_loss": 0.1, "val_correct": correct}
    return record


def prefill(store: Store, configs: list[RunConfig]) -> None:
    """Puts made-up records of all runs into the store, so that whoever asks for them trains nothing."""
    for number, config in enumerate(configs):
        run = store.run(config)
        with run.locked():
            run.write_record(made_up_record(config, store.data, num_wrong=1 + number % 5))
