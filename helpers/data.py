"""A data set, and its batches: shuffled, augmented and normalised as one tensor operation each."""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.config import ParameterError, Recipe

MEAN, STD = 0.1307, 0.3081  # of MNIST's training pixels in [0, 1]; also used for the digits, so that one net fits both
NUM_CLASSES = 10


class DataError(ParameterError):
    """The data asked for can't be had or is not what it should be. One line, like every ParameterError."""


@dataclass(frozen=True)
class Dataset:
    """Images as uint8 (N, 28, 28), labels as int64 (N,), both on the CPU.

    `val_*` are the test images, after `with_holdout` the last training images; in file order, never shuffled.
    """

    name: str         # "mnist" or "digits", with "-holdout" when validated on one: for files
    title: str        # for readers: in every figure's title
    notice: str       # what a reader must know about it before anything else; may be empty
    train_images: Tensor
    train_labels: Tensor
    val_images: Tensor
    val_labels: Tensor

    def __post_init__(self):
        for images, labels in ((self.train_images, self.train_labels), (self.val_images, self.val_labels)):
            if images.dtype != torch.uint8 or images.shape[1:] != (28, 28) or len(images) != len(labels):
                raise DataError(f"{self.title}: images {tuple(images.shape)} {images.dtype}, labels "
                                f"{tuple(labels.shape)}; expected uint8 (N, 28, 28) and (N,)")
            if len(labels) == 0 or labels.min() < 0 or labels.max() >= NUM_CLASSES:
                raise DataError(f"{self.title}: labels must be digits from 0 to 9")

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all images and labels, hexadecimal: what a run was trained and validated on."""
        digest = hashlib.sha256()
        for tensor in (self.train_images, self.train_labels, self.val_images, self.val_labels):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()

    def with_holdout(self, num_images: int) -> "Dataset":
        """The same training images, the last `num_images` of them for validation instead of the test images.

        To choose hyperparameters without looking at the test images. Raises DataError when too few would be left.
        """
        left = len(self.train_images) - num_images
        if left < NUM_CLASSES:
            raise DataError(f"holdout: got {num_images}, takes at most {len(self.train_images) - NUM_CLASSES} of the "
                            f"{len(self.train_images):,} training images of {self.title}")
        notice = f"{self.notice} Validated on the last {num_images:,} training images, not on the test images.".strip()
        return replace(
            self, name=f"{self.name}-holdout", title=f"{self.title} hold-out", notice=notice,
            train_images=self.train_images[:left], train_labels=self.train_labels[:left],
            val_images=self.train_images[left:], val_labels=self.train_labels[left:])


def check_batch_size(recipe: Recipe, data: Dataset) -> None:
    """Raises ParameterError when a batch would hold more than the training images."""
    num_images = len(data.train_images)
    if recipe.batch_size > num_images:
        advice = ", or a smaller holdout" if data.name.endswith("-holdout") else ""
        raise ParameterError(f"batch_size: got {recipe.batch_size}, takes at most the {num_images:,} training images "
                             f"of {data.title}{advice}")


def batches(
        images: Tensor, labels: Tensor, recipe: Recipe, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: shuffled, augmented, normalised batches, (N, 1, 28, 28) float32 and (N,) int64; the last is smaller.

    `generator` lives on the CPU, so that a seed means the same everywhere; it draws all numbers of the epoch at once.
    """
    order = torch.randperm(len(images), generator=generator).to(images.device)
    theta = random_affine(len(images), recipe, generator).to(images.device)  # (N, 2, 3)
    for index, matrix in zip(order.split(recipe.batch_size), theta.split(recipe.batch_size), strict=True):
        yield augment(images[index], matrix, recipe), labels[index]


def random_affine(num_images: int, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Random rotation, scale, shear and shift for each image: (N, 2, 3) matrices in affine_grid's coordinates.

    Each quantity is uniform within plus or minus the recipe's value. A matrix leads from a pixel of the new image to
    the place where the old one is read, both from -1 to 1: for a digit of twice the size it divides by 2.
    """
    angle, scale, shear, x, y = torch.rand(5, num_images, generator=generator).mul_(2).sub_(1)  # (N,) each, [-1, 1)
    angle = angle * (recipe.rotation * torch.pi / 180)
    scale = 1 + scale * recipe.scale
    shear = shear * recipe.shear
    x = x * (recipe.shift / 14)  # 28 pixels are 2 units wide
    y = y * (recipe.shift / 14)
    cos = angle.cos() / scale
    sin = angle.sin() / scale
    return torch.stack([cos, shear * cos - sin, x, sin, shear * sin + cos, y], dim=1).view(-1, 2, 3)


def augment(images: Tensor, theta: Tensor, recipe: Recipe) -> Tensor:
    """uint8 (N, 28, 28) moved by `theta` (N, 2, 3), then normalised: float32 (N, 1, 28, 28)."""
    ink = images.unsqueeze(1).float().div_(255)
    grid = sampling_grid(theta)  # (N, 28, 28, 2)
    # grid_sample fills with zeros: sampling ink - fill and adding fill back fills with `fill`
    ink = F.grid_sample(ink - recipe.fill, grid, recipe.interpolation, "zeros", align_corners=False) + recipe.fill
    return ink.sub_(MEAN).div_(STD)


def sampling_grid(theta: Tensor) -> Tensor:
    """F.affine_grid without aligned corners, (N, 2, 3) -> (N, 28, 28, 2): one matrix product, not N small ones."""
    centre = (torch.arange(28, device=theta.device) * 2 + 1) / 28 - 1  # of each pixel, from -1 to 1
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    base = torch.stack([x, y, torch.ones_like(x)]).view(3, 784)
    return (theta.reshape(-1, 3) @ base).view(-1, 2, 28, 28).permute(0, 2, 3, 1)


def normalize(images: Tensor) -> Tensor:
    """uint8 (N, 28, 28) to float32 (N, 1, 28, 28) with MNIST's mean and standard deviation, not augmented."""
    return images.unsqueeze(1).float().div_(255).sub_(MEAN).div_(STD)
