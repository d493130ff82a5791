"""Mistakes that were made in courses, planted in running code: the tests notice each of them."""

import multiprocessing
import os
import sys
from pathlib import Path

import pytest
import torch
from support import ROOT

from helpers import config, files, model, training

FORKS = multiprocessing.get_context("forkserver")
NOTICED = 99  # an exit code: what breaks on its own exits with 1, as failed tests do
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


def plant_and_test(mistake: str) -> None:
    """In a process of its own, which has imported no tests yet."""
    owner, name, wrong, file, which = MISTAKES[mistake]
    setattr(owner, name, wrong)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    path = str(ROOT / "tests" / f"test_{file}.py")
    code = pytest.main(["-x", "-p", "no:cacheprovider", "-p", "no:terminal", path, "-k", which])
    sys.exit(NOTICED if code == pytest.ExitCode.TESTS_FAILED else code)


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_noticed(mistake):
    process = FORKS.Process(target=plant_and_test, args=(mistake,))
    process.start()
    process.join(280)
    assert process.exitcode == NOTICED
