"""A pytest plugin that plants one mistake before the tests are imported.

`MISTAKE="the mode is not restored" python -m pytest -p mistakes tests/test_training.py`
"""

import os
from pathlib import Path

import torch

from helpers import config, files, model, training

evaluate = training.evaluate
make_norm = model.make_norm
train_step = training.train_step


def l1_penalty_without_abs(net, recipe):
    parameters = training.penalized(net, recipe.l1_target)
    return recipe.l1_lambda * torch.cat([p.flatten() for p in parameters]).sum()


def evaluate_and_stay_in_eval_mode(net, *arguments):
    evaluation = evaluate(net, *arguments)
    net.eval()
    return evaluation


def evaluate_in_random_order(net, images, labels):
    order = torch.randperm(len(labels))
    return evaluate(net, images[order], labels[order])


def train_step_of_a_full_batch(net, optimizer, x, y, recipe):
    """The epoch multiplies by len(y), which cancels here."""
    return train_step(net, optimizer, x, y, recipe) * recipe.batch_size / len(y)


def make_norm_of_one_group(norm, num_channels, size, num_groups):
    return make_norm(norm, num_channels, size, 1)


# mistake -> the owner and the name of what is replaced, by what; the tests that notice (file, -k)
MISTAKES = {
    "abs left out of the L1 term": (
        training, "l1_penalty", l1_penalty_without_abs, "test_training.py", "penalty"),
    "the mode is not restored": (
        training, "evaluate", evaluate_and_stay_in_eval_mode, "test_training.py", "evaluation"),
    "the last, smaller batch weighs as much as a full one": (
        training, "train_step", train_step_of_a_full_batch, "test_training.py", "epoch_means"),
    "the validation order is shuffled": (
        training, "evaluate", evaluate_in_random_order, "test_training.py", "file_order"),
    "the penalty leaks into another variant": (
        config.Recipe, "without_l1", lambda recipe: recipe, "test_config.py", "penalty"),
    "the groups are those of another variant": (
        model, "make_norm", make_norm_of_one_group, "test_model.py", "arithmetic"),
    "a file is written in place": (
        files, "write_atomically", Path.write_bytes, "test_files.py", "on_the_disk"),
}


def pytest_configure():
    owner, name, wrong, *_ = MISTAKES[os.environ["MISTAKE"]]
    setattr(owner, name, wrong)
