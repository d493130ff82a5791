"""A data set is what it says, and so are its batches: shuffled, augmented, normalised."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from helpers.config import RECIPES, ParameterError, Recipe
from helpers.data import DataError, augment, batches, check_batch_size, normalize, random_affine, sampling_grid

STILL = Recipe(rotation=0.0, shift=0.0, scale=0.0, shear=0.0, batch_size=16)


def test_wrong_shapes_and_labels_are_refused(tiny_data):
    images, labels = tiny_data.train_images, tiny_data.train_labels
    for wrong in (images.float(), images[:, :27], images[1:]):
        with pytest.raises(DataError, match="tiny squares: images"):
            replace(tiny_data, train_images=wrong)
    for wrong in (labels + 1, labels - 1):
        with pytest.raises(DataError, match="tiny squares: labels must be digits"):
            replace(tiny_data, train_labels=wrong)


def test_fingerprint_sees_one_bit(tiny_data):
    images = tiny_data.train_images.clone()
    assert replace(tiny_data, train_images=images).fingerprint == tiny_data.fingerprint
    images[3, 3, 3] ^= 1
    assert replace(tiny_data, train_images=images).fingerprint != tiny_data.fingerprint


def test_holdout_comes_from_the_training_images_alone(tiny_data):
    cut = tiny_data.with_holdout(25)
    assert torch.equal(torch.cat([cut.train_images, cut.val_images]), tiny_data.train_images)
    assert torch.equal(torch.cat([cut.train_labels, cut.val_labels]), tiny_data.train_labels)
    assert len(cut.val_images) == len(cut.val_labels) == 25
    assert cut.fingerprint != tiny_data.fingerprint
    assert (cut.name, cut.title) == ("tiny-holdout", "tiny squares hold-out")
    assert "not on the test images" in cut.notice
    with pytest.raises(DataError, match="holdout: got 61, takes at most 60 of the 70 training"):
        tiny_data.with_holdout(61)
    with pytest.raises(ParameterError, match=r"batch_size: got 64, takes at most the 45 .* or a smaller holdout$"):
        check_batch_size(Recipe(), cut)


def test_an_epoch_holds_every_image_once_in_seeded_order(tiny_data):
    def epoch(seed: int) -> list:
        generator = torch.Generator().manual_seed(seed)
        return list(batches(tiny_data.train_images, tiny_data.train_labels, STILL, generator))

    first, *_, last = parts = epoch(0)
    assert len(parts) == 5 and first[0].shape == (16, 1, 28, 28) and last[1].shape == (6,)
    x, y = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    expected = normalize(tiny_data.train_images)
    order = torch.cdist(x.flatten(1), expected.flatten(1)).argmin(1)
    assert sorted(order.tolist()) == list(range(70)) != order.tolist()
    assert_close(x, expected[order], rtol=1e-4, atol=1e-4)
    assert torch.equal(y, tiny_data.train_labels[order])
    assert_close(parts, epoch(0), rtol=0, atol=0)
    assert not torch.equal(first[0], epoch(1)[0][0])


def test_normalisation_is_mnists():
    values = normalize(torch.full((1, 28, 28), 51, dtype=torch.uint8))
    assert_close(values, torch.full((1, 1, 28, 28), (0.2 - 0.1307) / 0.3081))


@pytest.mark.parametrize(("field", "limit"), [
    ("rotation", 30.0), ("shift", 5.0), ("scale", 0.3), ("shear", 0.4)])
def test_each_image_gets_its_own_random_amount_within_the_limit(field, limit):
    recipe = replace(STILL, **{field: limit})
    theta = random_affine(4000, recipe, torch.Generator().manual_seed(0))
    a, b, x, c, d, y = theta.double().flatten(1).T
    size = a**2 + c**2
    amounts = {"rotation": [torch.atan2(c, a).rad2deg()], "shift": [x * 14, y * 14],
               "scale": [1 / size.sqrt() - 1], "shear": [(a * b + c * d) / size]}
    uniform = torch.linspace(-limit, limit, 4000).double()
    for amount in amounts.pop(field):
        assert_close(amount.sort().values, uniform, rtol=0, atol=0.05 * limit)
        assert amount.abs().max() <= limit * 1.00001
    for others in amounts.values():
        assert torch.stack(others).abs().max() < 1e-4


def test_the_grid_is_torchs():
    theta = torch.randn(5, 2, 3)
    expected = F.affine_grid(theta, (5, 1, 28, 28), align_corners=False)
    assert_close(sampling_grid(theta), expected)


def augmented(images, matrix: list, recipe=STILL):
    return augment(images, torch.tensor(matrix).expand(len(images), 2, 3), recipe)


@pytest.mark.parametrize(("matrix", "move"), [
    ([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]], lambda images: images.rot90(dims=(1, 2))),
    ([[1.0, 0.0, 2 / 14], [0.0, 1.0, 0.0]], lambda images: F.pad(images[:, :, 2:], (0, 2))),
])
def test_a_quarter_turn_and_a_shift_by_whole_pixels_are_exact(tiny_data, matrix, move):
    images = tiny_data.val_images
    assert_close(augmented(images, matrix), normalize(move(images)), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("recipe", "ink"), [("original", 255), ("tuned", 0)])
def test_original_recipe_fills_turned_corners_with_full_ink(recipe, ink):
    blank = torch.zeros(1, 28, 28, dtype=torch.uint8)
    turned = augmented(blank, [[0.99, -0.12, 0.0], [0.12, 0.99, 0.0]], RECIPES[recipe])  # 7 degrees
    assert_close(turned[..., 14, 14], normalize(blank)[..., 14, 14])
    assert_close(turned[..., 0, 0], normalize(blank + ink)[..., 0, 0])
