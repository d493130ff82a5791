"""The ordinary pipeline: PIL images, one transform an image, a DataLoader, torch.nn, all cores.

So PyTorch's tutorials teach it. Ours is measured against it, on the same images.
"""

import time

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms

from helpers.config import RECIPES, VARIANTS, Recipe
from helpers.data import MEAN, STD, Dataset
from helpers.model import build_model

RECIPE = RECIPES["original"]  # dropout, rotation, the penalty for the third variant
WARM_UP = 4  # batches before the clock starts


def first_images(data: Dataset, count: int) -> tuple[Tensor, Tensor]:
    """`count` training images and labels; smaller data are repeated."""
    index = torch.arange(count) % len(data.train_images)
    return data.train_images[index], data.train_labels[index]


class PilImages(torch.utils.data.Dataset):
    """Images as torchvision's MNIST hands them out: one PIL image at a time, transformed alone."""

    def __init__(self, images: Tensor, labels: Tensor, recipe: Recipe):
        self.images = images
        self.labels = labels
        self.transform = transforms.Compose([
            transforms.ToTensor(),
            transforms.RandomRotation(recipe.rotation, fill=recipe.fill),
            transforms.Normalize((MEAN,), (STD,)),
        ])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.images[index].numpy())
        return self.transform(image), int(self.labels[index])


def time_ordinary(data: Dataset, norm: str, num_batches: int, num_workers: int) -> float:
    """Seconds a batch, after the warm-up. num_workers: the DataLoader's processes."""
    size = RECIPE.batch_size
    images = PilImages(*first_images(data, (WARM_UP + num_batches) * size), RECIPE)
    loader = DataLoader(images, size, shuffle=True, num_workers=num_workers)
    model = build_model(norm, dropout=RECIPE.dropout)
    optimizer = torch.optim.SGD(model.parameters(), lr=RECIPE.lr, momentum=RECIPE.momentum)
    running_loss = 0.0
    for batch, (x, y) in enumerate(loader):
        if batch == WARM_UP:
            start = time.perf_counter()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        if VARIANTS[norm].l1:
            loss = loss + RECIPE.l1_lambda * sum(p.abs().sum() for p in model.parameters())
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    return (time.perf_counter() - start) / num_batches
