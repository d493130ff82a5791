"""A pytest plugin that plants one mistake, named by the environment's MISTAKE, before the tests are imported."""

import os
from pathlib import Path

import torch

from helpers import config, files, model, training

evaluate, train_step, make_norm = training.evaluate, training.train_step, model.make_norm


def l1_penalty_without_abs(net, recipe):
    return recipe.l1_lambda * sum(p.sum() for p in training.penalized(net, recipe.l1_target))


def evaluate_and_stay_in_eval_mode(net, *arguments):
    evaluation = evaluate(net, *arguments)
    net.eval()
    return evaluation


def evaluate_in_random_order(net, images, labels, *rest):
    order = torch.randperm(len(labels))
    return evaluate(net, images[order], labels[order], *rest)


def train_step_of_a_full_batch(net, optimizer, x, y, recipe):
    """The epoch multiplies by len(y), which cancels here."""
    return train_step(net, optimizer, x, y, recipe) * recipe.batch_size / len(y)


def make_norm_of_one_group(norm, num_channels, size, num_groups):
    return make_norm(norm, num_channels, size, 1)


# mistake -> the owner and the name of what is replaced, by what; the tests that notice (file, -k)
MISTAKES = {
    "abs left out of the L1 term": (training, "l1_penalty", l1_penalty_without_abs, "training", "penalty"),
    "the mode is not restored": (training, "evaluate", evaluate_and_stay_in_eval_mode, "training", "evaluation"),
    "the last, smaller batch weighs as much as a full one": (
        training, "train_step", train_step_of_a_full_batch, "training", "epoch_means"),
    "the validation order is shuffled": (training, "evaluate", evaluate_in_random_order, "training", "evaluation"),
    "the penalty leaks into another variant": (config.Recipe, "without_l1", lambda recipe: recipe, "config", "penalty"),
    "the groups are those of another variant": (model, "make_norm", make_norm_of_one_group, "model", "arithmetic"),
    "a file is written in place": (files, "write_atomically", Path.write_bytes, "files", "on_the_disk"),
}


def pytest_configure():
    owner, name, wrong, *_ = MISTAKES[os.environ["MISTAKE"]]
    setattr(owner, name, wrong)
