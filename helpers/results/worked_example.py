"""The worked example: two images with four channels of 1×2 pixels, normalised in the three ways.

All numbers are computed with `normalization.py`. The page shows one method at a time by a switch without a script.
"""

from itertools import product

import torch
from pandas import DataFrame
from torch import Tensor

from helpers.config import VARIANTS
from helpers.normalization import batch_norm, group_norm, layer_norm

X = torch.tensor([[[1.0, 3], [5, 7], [0, 0], [2, 6]], [[5, 7], [9, 11], [2, 2], [4, 8]]]).unsqueeze(2)  # (2, 4, 1, 2)
WATCHED = (0, 1, 0, 0)  # the 5: image 0, channel 1
IMAGE = torch.arange(2).view(2, 1, 1, 1)
CHANNEL = torch.arange(4).view(4, 1, 1)
# True where a value of X shares its mean with the 5.
SHARED = {"layer": (IMAGE == 0).expand_as(X), "group": ((IMAGE == 0) & (CHANNEL < 2)).expand_as(X),
          "batch": (CHANNEL == 1).expand_as(X)}

STYLE = """<style>
.example [class^="for-"] { display: none }
#switch-layer:checked ~ .for-layer, #switch-group:checked ~ .for-group, #switch-batch:checked ~ .for-batch {
  display: table }
#switch-layer:checked ~ table .layer, #switch-group:checked ~ table .group, #switch-batch:checked ~ table .batch {
  background: #ffe9b8; color: #1a1a1a; outline: 2px solid #7a5200 }
</style>"""  # for Jupyter; an exported page has its own


def normalized() -> dict[str, Tensor]:
    """X after each method, γ = 1 and β = 0."""
    ones, zeros = torch.ones(4), torch.zeros(4)
    return {"layer": layer_norm(X, torch.ones(4, 1, 2), torch.zeros(4, 1, 2)),
            "group": group_norm(X, 2, ones, zeros), "batch": batch_norm(X, ones, zeros)}


def example_table() -> DataFrame:
    """For each method what the 5 shares its mean with, and what becomes of it."""
    rows = {}
    for norm, y in normalized().items():
        shared = X[SHARED[norm]]
        mean = shared.mean().item()
        variance = shared.var(correction=0).item()
        rows[VARIANTS[norm].bare] = {
            "the 5 shares its mean with": f"{shared.numel()} values: one {VARIANTS[norm].mean_of}",
            "mean": f"{mean:g}", "variance": f"{variance:g}",
            "5 becomes": f"(5 - {mean:g}) / sqrt({variance:g}) = {y[WATCHED].item():.2f}"}
    return DataFrame(rows).T.rename_axis("method")


def example_switch() -> str:
    """HTML: a button for each method lights up the cells that share the 5's mean and shows all new values."""
    table = example_table()
    parts = [STYLE, '<div class="example">']
    for norm in SHARED:
        checked = " checked" if norm == "layer" else ""
        parts.append(f'<input type="radio" name="switch-norm" id="switch-{norm}"{checked}>'
                     f'<label for="switch-{norm}">{VARIANTS[norm].bare}</label>')
    parts.append(f"<table><caption>Before: two images, four channels of two pixels</caption>{_rows(X, '{:g}')}</table>")
    for norm, y in normalized().items():
        row = table.loc[VARIANTS[norm].bare]
        name = VARIANTS[norm].bare
        caption = f"{name}: mean {row['mean']}, variance {row['variance']}; the 5 becomes {row['5 becomes']}"
        parts.append(f'<table class="for-{norm}"><caption>{caption}</caption>{_rows(y, "{:.2f}")}</table>')
    return "".join([*parts, "</div>"])


def _rows(x: Tensor, form: str) -> str:
    """Table rows of (2, 4, 1, 2) values; each cell's classes name the methods in which it shares the 5's mean."""
    head = "".join(f"<th colspan=2>channel {channel}</th>" for channel in range(4))
    rows = [f"<tr><td></td>{head}</tr>"]
    for image in range(2):
        cells = ""
        for index in product([image], range(4), [0], range(2)):
            value = form.format(x[index].item())
            if index == WATCHED:
                value = f"<strong>{value}</strong>"
            methods = " ".join(norm for norm, shared in SHARED.items() if shared[index])
            cells += f'<td class="{methods}">{value}</td>'
        rows.append(f"<tr><th>image {image}</th>{cells}</tr>")
    return "".join(rows)
