"""What can be asked for: variants, recipes, one training run, one study.

Each parameter is declared once, in one line: `parameter(default, rule)` is a dataclass field that carries its rule,
`required(rule)` one without a default. `Checked` checks all fields when an object is made, and its `_set` writes to a
frozen one; `Parameters` is `Checked` and reads a notebook's cell (`parameters.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace

from helpers.parameters import (
    Checked,
    Parameters,
    Rule,
    integer,
    is_path,
    list_of,
    number,
    one_of,
    optional,
    parameter,
    required,
)
from helpers.parameters import OneLineError as OneLineError  # these three are for whoever imports them from here
from helpers.parameters import ParameterError as ParameterError
from helpers.parameters import check_name as check_name


@dataclass(frozen=True)
class Variant:
    """One way to normalise activations (N, C, H, W)."""

    title: str
    short: str
    mean_of: str     # what has one mean, in words
    means: Callable  # (N, C, G) -> how many means one layer computes from a batch
    make: Callable   # (nn, C, H, W, G) -> the layer; nn is torch.nn, handed in
    l1: bool = False  # whether the L1 penalty belongs to it

    @property
    def bare(self) -> str:
        """The short name of the normalisation alone."""
        return self.short.removeprefix("L1 + ")


# A new variant is one entry here; tables, figures and the notebook follow this order.
VARIANTS = {
    "layer": Variant(
        "Layer Normalization", "LayerNorm", "image",
        means=lambda N, C, G: N, make=lambda nn, C, H, W, G: nn.LayerNorm([C, H, W])),
    "group": Variant(
        "Group Normalization", "GroupNorm", "image and group",
        means=lambda N, C, G: N * G, make=lambda nn, C, H, W, G: nn.GroupNorm(G, C)),  # torch takes the groups first
    "batch": Variant(
        "L1 + Batch Normalization", "L1 + BatchNorm", "channel, over the batch",
        means=lambda N, C, G: C, make=lambda nn, C, H, W, G: nn.BatchNorm2d(C), l1=True),
}

# Ways to normalise, or not to, that only the ablations train.
CONTROLS = {
    "none": Variant(
        "No normalisation", "no norm", "nothing",
        means=lambda N, C, G: 0, make=lambda nn, C, H, W, G: nn.Identity()),
    "layer_plain": Variant(
        "Layer Normalization without γ and β", "LayerNorm, no γ, β", "image",
        means=lambda N, C, G: N, make=lambda nn, C, H, W, G: nn.LayerNorm([C, H, W], elementwise_affine=False)),
    "instance": Variant(
        "Group Normalization with G = C", "GroupNorm, G = C", "image and channel",
        means=lambda N, C, G: N * C, make=lambda nn, C, H, W, G: nn.GroupNorm(C, C)),
}
ALL_NORMS = {**VARIANTS, **CONTROLS}

# Rules of the parameters below.
NORM = one_of(*ALL_NORMS)
NORMS = list_of(one_of(*VARIANTS), "of " + ", ".join(map(repr, VARIANTS)))
NUM_GROUPS = one_of(1, 2, 4)  # what divides every block's channels: 16, 32, 12, 12, 12, 16
LR = number("of at least 1e-12", lambda value: value >= 1e-12)  # less moves no weight in float32
NOT_NEGATIVE = number("of at least 0", lambda value: value >= 0)
BELOW_ONE = number("of at least 0 and below 1", lambda value: 0 <= value < 1)
UP_TO_ONE = number("of at least 0 and at most 1", lambda value: 0 <= value <= 1)
PIXELS = number("of at least 0 and at most 28", lambda value: 0 <= value <= 28)
DEGREES = number("of at least 0 and at most 180", lambda value: 0 <= value <= 180)
SCHEDULE = one_of("step", "one_cycle", "constant")
L1_TARGET = one_of("all", "weights")
INTERPOLATION = one_of("nearest", "bilinear")
PRECISION = one_of("auto", "float32", "bfloat16")
DEVICE = one_of("auto", "cpu", "cuda", "mps")
SEED = integer(0)
SEEDS = list_of(SEED, "integers from 0 to 2**31 - 1")
EPOCHS = integer(1)
BOOLEAN = one_of(True, False)
PATH = Rule("a path, not empty", is_path)
DATASET = Rule("the name of a data set", lambda value: isinstance(value, str))  # datasets.py knows the names
DATA_DIR = optional(PATH, "the environment's MNIST_DATA_DIR, else 'data'")
OUTPUT_DIR = optional(PATH, "no files")
WORKERS = optional(integer(1, 1024), "two for each core")
SCHEDULER = optional(Rule("the address of a Dask scheduler or its file", is_path), "this machine alone")


@dataclass(frozen=True)
class Recipe(Checked):
    """How a run is trained. The defaults, the recipe `tuned`, were chosen on a hold-out (records/search.csv)."""

    batch_size: int = parameter(64, integer(1))         # images an update; the historical value, for a fair comparison
    lr: float = parameter(0.2, LR)                      # the schedule's peak; best on the hold-out of 0.05 to 0.4
    momentum: float = parameter(0.9, BELOW_ONE)         # the usual value
    nesterov: bool = parameter(True, BOOLEAN)           # looks one step ahead; free
    weight_decay: float = parameter(0.0, NOT_NEGATIVE)  # on convolution weights; 1e-4 and 5e-4 did no better
    schedule: str = parameter("one_cycle", SCHEDULE)    # warm up, then anneal: the last epoch is the best one
    dropout: float = parameter(0.0, BELOW_ONE)          # first block, half after; so small a net underfits with it
    label_smoothing: float = parameter(0.0, BELOW_ONE)  # no gain, and train_loss stays a plain cross-entropy
    ema_decay: float = parameter(0.999, BELOW_ONE)      # averages 1,000 updates, in short runs fewer; 0: none
    l1_lambda: float = parameter(1e-5, NOT_NEGATIVE)    # of the third variant; best on the hold-out of 1e-6 to 1e-4
    l1_target: str = parameter("weights", L1_TARGET)    # "all" would also shrink BatchNorm's own gamma towards zero
    rotation: float = parameter(10.0, DEGREES)          # degrees, either way; 7 and 15, with the next three, did worse
    shift: float = parameter(2.0, PIXELS)               # pixels, either way
    scale: float = parameter(0.1, BELOW_ONE)            # share of the size, either way
    shear: float = parameter(0.1, UP_TO_ONE)            # pixels sideways for each pixel down, either way
    fill: float = parameter(0.0, UP_TO_ONE)             # ink where the turned image has no data: paper
    interpolation: str = parameter("bilinear", INTERPOLATION)  # smooth; "nearest" is the historical one
    precision: str = parameter("float32", PRECISION)    # of activations (fast_layers.py); bfloat16 may be faster

    def __post_init__(self):
        super().__post_init__()
        for one in fields(self):
            if isinstance(one.default, float):  # 10 is 10.0, and -0.0 + 0.0 is 0.0: one run each
                self._set(one.name, float(getattr(self, one.name)) + 0.0)

    def without_l1(self) -> "Recipe":
        """The same without a penalty. Its target is set too, so that equal trainings are equal recipes."""
        return replace(self, l1_lambda=0.0, l1_target="weights")


TARGET_NAMES = {"weights": "the convolution weights", "all": "all parameters"}

RECIPES = {
    "tuned": Recipe(),
    # The historical run, its faults included: full ink in the turned corners, an L1 penalty a thousand
    # times as strong as today's, on all parameters. Source: github.com/sunandhini96/School_of_AI-Assignment_5
    "original": Recipe(
        lr=0.01, nesterov=False, schedule="step", dropout=0.1, ema_decay=0.0, l1_lambda=0.01, l1_target="all",
        rotation=7.0, shift=0.0, scale=0.0, shear=0.0, fill=1.0, interpolation="nearest"),
}


@dataclass(frozen=True)
class RunConfig(Checked):
    """One training run. Its content and the data's fingerprint are the run's identity."""

    norm: str = required(NORM)
    seed: int = required(SEED)
    num_epochs: int = required(EPOCHS)
    recipe: Recipe
    num_groups: int | None = None           # GroupNorm's; None for the others, so that none is trained again for it
    device: str = parameter("cpu", DEVICE)  # part of the identity: another device gives other bits

    def __post_init__(self):
        super().__post_init__()
        if self.norm == "group":
            NUM_GROUPS.check("num_groups", self.num_groups)
        if self.recipe.precision == "auto":  # a run's identity names its precision; nobody chose one
            self._set("recipe", replace(self.recipe, precision="float32"))

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping) -> "RunConfig":
        return cls(**{**content, "recipe": Recipe(**content["recipe"])})


@dataclass(frozen=True)
class Study(Parameters):
    """What one execution of the main notebook is asked for."""

    dataset: str = parameter("auto", DATASET)
    norms: tuple[str, ...] = parameter(tuple(VARIANTS), NORMS)
    num_groups: int = parameter(2, NUM_GROUPS)
    recipe: str = parameter("tuned", one_of(*RECIPES))
    seeds: tuple[int, ...] = parameter((0, 1, 2, 3, 4), SEEDS)
    num_epochs: int = parameter(20, EPOCHS)
    reuse_records: bool | str = parameter("rest", one_of("rest", True, False))  # "rest": all but the first seed's
    output_dir: str | None = parameter(None, OUTPUT_DIR)
    changes: Mapping = field(default_factory=dict)  # values of Recipe's fields that replace the recipe's own
    data_dir: str | None = parameter(None, DATA_DIR)
    holdout: int = parameter(0, integer(0))  # training images to validate on instead of the test images
    device: str = parameter("auto", DEVICE)
    workers: int | None = parameter(None, WORKERS)  # processes that train side by side on the CPU
    scheduler: str | None = parameter(None, SCHEDULER)
    runs_dir: str = parameter("runs", PATH)

    def __post_init__(self):
        super().__post_init__()
        self.training_recipe()  # checks the changes
        self._set("norms", tuple(norm for norm in VARIANTS if norm in self.norms))  # always the same order
        self._set("seeds", tuple(self.seeds))

    @classmethod
    def rules(cls) -> dict[str, Rule]:
        """The notebook's parameters: those of this class, and in the place of `changes` each field of the recipe."""
        rules = {}
        for one in fields(cls):
            if one.name == "changes":
                rules |= Recipe.own_rules()
            else:
                rules[one.name] = one.metadata["rule"]
        return rules

    @classmethod
    def from_dict(cls, values: Mapping) -> "Study":
        """{"seeds": [0], "lr": 0.1, "momentum": None} -> Study(seeds=(0,), changes={"lr": 0.1})

        None for a field of the recipe means: as the recipe says.
        """
        recipe_fields = Recipe.own_rules()
        parsed = cls.parsed(values)
        own = {name: value for name, value in parsed.items() if name not in recipe_fields}
        changes = {name: parsed[name] for name in recipe_fields if parsed.get(name) is not None}
        return cls(**own, changes=changes)

    def training_recipe(self) -> Recipe:
        """The named recipe with this study's changes in it."""
        return replace(RECIPES[self.recipe], **self.changes)

    def run_configs(self, device: str, precision: str = "float32") -> list[RunConfig]:
        """One RunConfig for each variant and seed, on "cpu", "cuda" or "mps". precision: what "auto" means there."""
        recipe = self.training_recipe()
        if recipe.precision == "auto":
            recipe = replace(recipe, precision=precision)
        configs = []
        for norm in self.norms:
            has_penalty = VARIANTS[norm].l1 and recipe.l1_lambda
            own = recipe if has_penalty else recipe.without_l1()
            num_groups = self.num_groups if norm == "group" else None
            for seed in self.seeds:
                configs.append(RunConfig(norm, seed, self.num_epochs, own, num_groups, device))
        return configs
