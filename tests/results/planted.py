"""Made-up data, and records whose misclassified images are given."""

from dataclasses import replace

import torch
from support import made_up_record, make_run_config

from helpers.data import Dataset

NUM_VAL = 1000
LABELS = torch.arange(NUM_VAL) % 10  # image i is a digit i % 10
BLANK = torch.zeros(NUM_VAL, 28, 28, dtype=torch.uint8)
DIGITS = Dataset("digits", "made-up digits", "", BLANK[:10], LABELS[:10], BLANK, LABELS)
MNIST = replace(DIGITS, name="mnist", val_images=BLANK.repeat(10, 1, 1), val_labels=LABELS.repeat(10))


def record(norm: str, seed: int, wrong, data: Dataset = DIGITS) -> dict:
    """A record; wrong: the indices of the misclassified images, each read as the next digit."""
    made = made_up_record(make_run_config(norm, seed), data, num_wrong=len(wrong))
    made["wrong"] = [[index, index % 10, (index + 1) % 10, 0.6, 0.3] for index in wrong]
    return made


def arm(norm: str, *errors: int, data: Dataset = MNIST) -> list[dict]:
    """Records with so many errors, seed by seed, always on the same images."""
    return [record(norm, seed, range(number), data) for seed, number in enumerate(errors)]
