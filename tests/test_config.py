"""Every value is checked before any training, and a mistake is told in one line."""

import math
from dataclasses import fields

import pytest

from helpers.config import RECIPES, RULES, VARIANTS, ParameterError, Recipe, RunConfig, Study

GOOD_STUDY = {"dataset": "digits", "seeds": "[0, 1]", "num_epochs": 2, "lr": 0.1, "norms": ["batch", "layer"]}


@pytest.mark.parametrize(("name", "value", "says"), [
    ("sede", 3, "seeds"), ("norm", "layer", "norms"), ("epochs", 3, "num_epochs"),
    ("num_epochs", 0, "at least 1"), ("num_epochs", -1, "at least 1"), ("num_epochs", 2.0, "float"),
    ("num_epochs", "3", "str"), ("num_epochs", True, "bool"), ("num_epochs", None, "an integer"),
    ("batch_size", 0, "at least 1"), ("seeds", [], "one or more"), ("seeds", [1, 1], "without repeats"),
    ("seeds", "[]", "one or more"), ("seeds", "0, x", "one or more"), ("seeds", 3, "a list"), ("seeds", [-1], "0"),
    ("seeds", [0.5], "integers"), ("num_groups", 3, "1, 2, 4"), ("num_groups", "2", "1, 2, 4"),
    ("num_groups", True, "1, 2, 4"), ("num_groups", 2.0, "1, 2, 4"),
    ("l1_lambda", -1e-5, "at least 0"), ("l1_lambda", math.nan, "at least 0"), ("l1_lambda", math.inf, "at least 0"),
    ("norms", ["layer", "instance"], "'layer', 'group', 'batch'"), ("norms", "layer", "a list"),
    ("recipe", "fast", "'tuned', 'original'"), ("dataset", "cifar10", "'auto', 'mnist', 'digits'"),
    ("device", "tpu", "'auto', 'cpu', 'cuda', 'mps'"), ("lr", 0, "above 0"), ("lr", "fast", "above 0"),
    ("dropout", 1.0, "below 1"), ("momentum", 1, "below 1"), ("l1_target", "gamma", "'all', 'weights'"),
    ("output_dir", "", "a path"), ("data_dir", 3, "a path"), ("schedule", "linear", "'one_cycle'"),
    ("holdout", -1, "at least 0"), ("workers", 0, "at least 1"), ("seeds", "9" * 5000, "a list"),
    ("seeds", "{[]}", "a list"), ("lr", 10**400, "above 0"), ("num_epochs", 10**11, "2**31 - 1"),
    ("lr", math.inf, "finite"),
])
def test_bad_value_is_one_line_that_names_it(name, value, says):
    with pytest.raises(ParameterError) as error:
        Study.from_dict({name: value})
    message = str(error.value)
    assert message.startswith(name) and says in message and "\n" not in message and len(message) < 600
    assert error.value._render_traceback_() == [f"ParameterError: {message}"]


def test_good_values_are_taken_as_given():
    study = Study.from_dict(GOOD_STUDY)
    assert (study.seeds, study.num_epochs, study.norms) == ((0, 1), 2, ("layer", "batch"))
    assert study.training_recipe().lr == 0.1 and study.training_recipe().momentum == Recipe().momentum


def test_every_parameter_has_a_rule():
    for cls in (Study, Recipe, RunConfig):
        assert {field.name for field in fields(cls)} <= set(RULES), cls
    assert {field.name for field in fields(Recipe)} <= {field.name for field in fields(Study)}, "a recipe's too"


def test_notebook_names_are_read_from_the_cells_source():
    ours, injected = "# Parameters: change a value\nseeds = [0]  # one\nlr = None", "# Parameters\nsede = 3\n"
    namespace = {"In": ["", ours, injected], "seeds": [0], "lr": None, "sede": 3}
    with pytest.raises(ParameterError, match="sede: no such parameter; did you mean seeds"):
        Study.from_notebook(namespace)
    # executed again without the injected cell: what was asked for before is over; other variables never count
    namespace = {"In": ["", ours, injected, ours], "seeds": [4], "lr": 0.2, "sede": 3, "num_epochs": "a leftover"}
    study = Study.from_notebook(namespace)
    assert study.seeds == (4,) and study.lr == 0.2 and study.num_epochs == Study().num_epochs


def test_mistyped_cell_is_forgotten_when_it_is_mended():
    wrong, right = "# Parameters: change a value\nlr = = 3", "# Parameters: change a value\nlr = 0.3"
    assert Study.from_notebook({"In": ["", wrong, right], "lr": 0.3}).lr == 0.3
    with pytest.raises(ParameterError, match="lr: has no value; execute the parameters cell again"):
        Study.from_notebook({"In": ["", right]})


def test_ten_and_ten_point_zero_are_the_same_run():
    from helpers.records import run_id

    one, other = Study(rotation=10, ema_decay=0), Study(rotation=10.0, ema_decay=0.0)
    assert run_id(one.run_configs("cpu")[0], "data") == run_id(other.run_configs("cpu")[0], "data")


def test_outside_ipython_the_variables_themselves_are_read():
    assert Study.from_notebook({"seeds": [7], "pi": 3.14}).seeds == (7,)


def test_penalty_and_groups_belong_to_their_variant_alone():
    configs = Study(seeds=(3, 1), l1_lambda=0.5, num_groups=4).run_configs("cpu")
    assert [(c.norm, c.seed) for c in configs] == [(n, s) for n in VARIANTS for s in (3, 1)]
    for config in configs:
        assert config.recipe.l1_lambda == (0.5 if config.norm == "batch" else 0.0)
        assert config.num_groups == (4 if config.norm == "group" else None)


def test_what_a_variant_does_not_use_is_not_part_of_its_identity():
    one, other = Study(l1_lambda=0.1, num_groups=1), Study(l1_lambda=0.2, num_groups=4)
    assert one.run_configs("cpu")[0] == other.run_configs("cpu")[0]
    assert one.run_configs("cpu")[-1] != other.run_configs("cpu")[-1]
    free = Study(recipe="original", l1_lambda=0.0).run_configs("cpu")  # without a penalty its target means nothing
    assert {config.recipe for config in free} == {RECIPES["original"].without_l1()}


def test_original_recipe_is_the_historical_run():
    original = RECIPES["original"]
    assert (original.lr, original.momentum, original.nesterov, original.schedule) == (0.01, 0.9, False, "step")
    assert (original.batch_size, original.dropout, original.rotation, original.fill) == (64, 0.1, 7.0, 1.0)
    assert (original.l1_lambda, original.l1_target, original.ema_decay) == (0.01, "all", 0.0)
    assert (original.shift, original.scale, original.shear, original.weight_decay) == (0, 0, 0, 0)


def test_config_survives_json():
    import json

    config = Study(recipe="original").run_configs("cpu")[1]
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
