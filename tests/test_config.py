"""Every value is checked before any training, and a mistake is told in one line."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.config import RECIPES, ParameterError, Recipe, RunConfig, Study
from helpers.machine import resolve_device, resolve_precision
from helpers.runs.one import fit
from helpers.training import DivergedError

SEEDS = "a list without repeats of one or more integers from 0"
# parameter, what it takes, and values that it does not take
BAD_VALUES = [
    ("num_epochs", "an integer of at least 1 and", [0, -1, 2.0, "3.5", 10**11, 10**5000, True, None]),
    ("workers", "an integer of at least 1 and at most 1024, or None", [0, 1025]),
    ("seeds", SEEDS, [[], [1, 1], 3, [-1], [0.5], [True]]),
    ("seeds", SEEDS, ["[]", "0, x", "{[]}", "9".rjust(5000, "9")]),
    ("norms", "a list .* of 'layer', 'group', 'batch'", [["layer", "instance"], "layer"]),
    ("num_groups", "one of 1, 2, 4", [3, "8", True, 2.0]),
    ("lr", "a finite number of at least 1e-12", [0, "fast", 10**400, 1e-320, 1e-30, math.inf]),
    ("l1_lambda", "a finite number of at least 0", [-1e-5, math.nan, 5e-324, "1e-320"]),
    ("dropout", "a finite number of at least 0 and below 1", [1]),
    ("rotation", "a finite number of at least 0 and at most 180", [180.5]),
    ("output_dir", "a path, not empty, or None", ["", " ", 3, "a\0b", "\ud800"]),
]


@pytest.mark.parametrize(("name", "takes", "values"), BAD_VALUES)
def test_bad_value_is_one_line_that_names_it(name, takes, values):
    for value in values:
        with pytest.raises(ParameterError, match=f"^{name}: got .*, takes {takes}") as error:
            Study.from_dict({name: value})
        message = str(error.value)
        assert "\n" not in message and len(message) < 300


def test_good_values_are_taken_as_given():
    study = Study.from_dict({"seeds": "[0, 1]", "norms": ["group", "layer"], "lr": 1, "fill": None})
    assert study == Study(seeds=(0, 1), norms=("layer", "group"), changes={"lr": 1})
    assert study.training_recipe() == replace(Recipe(), lr=1)
    assert str(Recipe(rotation=10, ema_decay=-0.0)) == str(Recipe(rotation=10.0, ema_decay=0.0)), "the same run"
    as_text = {"l1_lambda": "1e-5", "num_epochs": "3", "nesterov": "True", "workers": "2", "lr": ".1", "runs_dir": "3"}
    study = Study.from_dict(as_text)
    changes = {"lr": 0.1, "nesterov": True, "l1_lambda": 1e-5}
    assert study == Study(num_epochs=3, workers=2, runs_dir="3", changes=changes)


@pytest.mark.parametrize("name", [1, True, None, 2.5, (1, "seeds"), "sed e\n" * 100])
def test_a_name_that_is_no_name_is_one_line(name):
    with pytest.raises(ParameterError, match=": no such parameter; ") as error:
        Study.from_dict({name: 2})
    assert "\n" not in str(error.value) and str(error.value).startswith(str(name)[:5])


def test_names_are_read_from_the_notebooks_cells():
    ours = "# Parameters: change a value\nseeds = [0]  # one\nlr: float = None"
    injected = "# Parameters\nsede = 3\n"
    namespace = {"In": ["", ours, injected], "seeds": [0], "lr": None, "sede": 3}
    with pytest.raises(ParameterError, match="sede: no such parameter; did you mean seeds"):
        Study.from_notebook(namespace)
    # executed again without papermill's cell: what that one asked for is over
    again = {"In": ["", ours, injected, ours], "seeds": [4], "lr": 0.2, "sede": 3, "holdout": "x"}
    assert Study.from_notebook(again) == Study(seeds=(4,), changes={"lr": 0.2})
    wrong = "# Parameters: change a value\nholdout = = 3"
    right = "# Parameters: change a value\nholdout = 3"
    assert Study.from_notebook({"In": [wrong, right], "holdout": 3}) == Study(holdout=3)
    assert Study.from_notebook({"holdout": 3, "pi": 3.14}) == Study(holdout=3), "outside IPython"
    with pytest.raises(ParameterError, match="holdout: has no value; execute the parameters cell"):
        Study.from_notebook({"In": [right]})


def test_ipython_prints_the_line_without_a_traceback(tmp_path, monkeypatch, capsys):
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    InteractiveShell().run_cell("from helpers.config import Study\nStudy(holdout=-1)")
    (printed,) = capsys.readouterr().out.splitlines()
    assert printed.startswith("ParameterError: holdout: got -1 (int), takes an integer of at ")


def test_penalty_and_groups_belong_to_their_variant_alone():
    study = Study(seeds=(3, 1), num_groups=4, changes={"l1_lambda": 0.5, "l1_target": "all"})
    configs = study.run_configs("cpu")
    assert [config.seed for config in configs] == 3 * [3, 1]
    told = [(one.norm, one.recipe.l1_lambda, one.recipe.l1_target, one.num_groups) for one in configs[::2]]
    assert told == [("layer", 0.0, "weights", None), ("group", 0.0, "weights", 4), ("batch", 0.5, "all", None)]
    free = Study(changes={"l1_lambda": 0.0, "l1_target": "all"}).run_configs("cpu")
    assert {config.recipe for config in free} == {Recipe().without_l1()}


def test_auto_precision_is_no_part_of_a_runs_identity(make_config):
    assert make_config(precision="auto").recipe.precision == "float32"
    study = Study(changes={"precision": "auto"})
    assert study.run_configs("cpu", "bfloat16")[0].recipe.precision == "bfloat16"
    assert Study().run_configs("cpu", "bfloat16")[0].recipe.precision == "float32"


def test_original_recipe_is_the_historical_run():
    assert str(RECIPES["original"]) == (
        "Recipe(batch_size=64, lr=0.01, momentum=0.9, nesterov=False, weight_decay=0.0, "
        "schedule='step', dropout=0.1, label_smoothing=0.0, ema_decay=0.0, l1_lambda=0.01, "
        "l1_target='all', rotation=7.0, shift=0.0, scale=0.0, shear=0.0, fill=1.0, "
        "interpolation='nearest', precision='float32')")
    config = Study(recipe="original").run_configs("cpu")[5]
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


TEXTS = ["../../etc", "[0, 1]", "layer", "cuda", "auto", "1e400", "\0", "~nobody/x"]
JUNK = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
                 st.lists(st.integers(-2, 5), max_size=3), st.sampled_from([*TEXTS, b"", {"a": None}]))
SHARES = ["momentum", "dropout", "ema_decay", "l1_lambda", "label_smoothing"]
SANE = {
    **dict.fromkeys(SHARES, st.floats(0, 0.99)),
    **dict.fromkeys(["batch_size", "num_epochs", "num_groups"], st.integers(1, 40)),
    **dict.fromkeys(["lr", "rotation"], st.floats(1e-6, 10)),
    "seeds": st.lists(st.integers(0, 2**31 - 1)),
    "norms": st.lists(st.sampled_from(["layer", "group", "batch", "none"]), max_size=3),
    "schedule": st.sampled_from(["step", "one_cycle", "constant"]),
    "precision": st.sampled_from(["auto", "bfloat16"]),
}


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck])
@given(values=st.data())
def test_any_parameters_train_two_steps_or_are_refused_in_one_line(tiny_data, values):
    names = values.draw(st.lists(st.sampled_from([*Study.rules()]), unique=True, max_size=4))
    chosen = {}
    for name in names:
        is_sane = values.draw(st.integers(0, 3))
        chosen[name] = values.draw(SANE.get(name, JUNK) if is_sane else JUNK)
    try:
        study = Study.from_dict(chosen)
        recipe = study.training_recipe()
        device = resolve_device(study.device)
        configs = study.run_configs(device, resolve_precision(recipe.precision, device))
        images = tiny_data.train_images[:2 * recipe.batch_size]
        labels = tiny_data.train_labels[:2 * recipe.batch_size]
        data = replace(tiny_data, train_images=images, train_labels=labels)
        assert fit(replace(configs[-1], num_epochs=1), data)["num_parameters"] > 10_000
    except ParameterError as error:
        parameter, _, rest = str(error).partition(": ")
        assert parameter in (*names, "batch_size") and "\n" not in rest
    except DivergedError as error:
        assert "learning rate" in str(error) and "\n" not in str(error)


def test_every_parameter_has_a_rule():
    assert set(RECIPES["tuned"].__dict__) <= set(Study.rules())
    for name in Study.rules():
        with pytest.raises(ParameterError, match=f"^{name}: got .*takes "):
            Study.from_dict({name: object()})
