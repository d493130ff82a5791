"""Mistakes that were made in courses, planted in a copy of the project: the tests notice each of them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MISTAKES = {
    "abs leaves the L1 term": (
        "training.py", "for p in penalized(net, recipe.l1_target)]).abs().sum()",
        "for p in penalized(net, recipe.l1_target)]).sum()", "test_training.py", "penalty"),
    "the mode is not restored": (
        "training.py", "        net.train(training)\n", "        pass\n", "test_training.py", "evaluation"),
    "the last, smaller batch weighs as much as a full one": (
        "training.py", "sums += len(y) * torch.stack", "sums += recipe.batch_size * torch.stack", "test_training.py",
        "epoch_means"),
    "the validation order is shuffled": (
        "training.py", "    training = net.training\n    net.eval()\n",
        "    training = net.training\n    net.eval()\n"
        "    order = torch.randperm(len(labels))\n    images, labels = images[order], labels[order]\n",
        "test_training.py", "file_order or wrong_images"),
    "the penalty leaks into another variant": (
        "config.py", "recipe if VARIANTS[norm].l1 and recipe.l1_lambda else recipe.without_l1()", "recipe",
        "test_config.py", "penalty"),
    "the groups are those of another variant": (
        "model.py", "GroupNorm(copies * num_groups, copies * num_channels)", "GroupNorm(copies, copies * num_channels)",
        "test_model.py", ""),
    "a checkpoint is written in place": (
        "files.py", "        os.replace(temporary, path)\n", "        path.write_bytes(data)\n", "test_faults.py",
        "every_write"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_noticed(mistake, tmp_path):
    file, right, wrong, tests, which = MISTAKES[mistake]
    for folder in ("helpers", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    source = tmp_path / "helpers" / file
    assert source.read_text().count(right) == 1, "the place is there, once"
    source.write_text(source.read_text().replace(right, wrong))
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
                           str(tmp_path / "tests" / tests), "-k", which], cwd=tmp_path, capture_output=True, text=True,
                          timeout=280)
    assert done.returncode == 1 and " failed" in done.stdout, done.stdout[-2000:]
