# make          the study, executed and exported to runs/report/
# make help     all targets
# Needs GNU make and Python 3.10 or newer; PYTHON=python3.12 chooses one.

PYTHON ?= python3
ARGS ?=
RUN = .venv/bin/python -m
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: report test study publish speed confirm course lab help

report: .venv/.installed  # execute the study and export it to runs/report/
	@$(RUN) helpers.report $(ARGS)

test: .venv/.tested  # the whole test suite
	@$(RUN) pytest $(ARGS)

study: .venv/.installed  # the same, every run trained here, none taken from the published records
	@$(RUN) helpers.report -p reuse_records False $(ARGS)

publish: .venv/.installed  # run on MNIST, then refresh the committed notebook, its page and figures/
	@$(RUN) helpers.report --publish $(ARGS)

speed: .venv/.installed  # measure the time an epoch takes, to runs/speed/
	@$(RUN) helpers.report notebooks/speed.ipynb --output-dir runs/speed $(ARGS)

confirm: .venv/.installed  # train and publish what is missing of the confirmation (records/plan.md)
	@$(RUN) helpers.runs.confirm

course: .venv/.course  # the exercises: a student's copy and the executed solution, to runs/course/
	@$(RUN) helpers.course

lab: .venv/.lab  # the study in JupyterLab
	@$(RUN) jupyterlab $(ARGS) notebooks/mnist_normalization.ipynb

help:  # this list
	@sed -n 's/^\([a-z]*\):.*  # /make \1: /p' Makefile
	@echo "Parameters: make report ARGS=\"-p seeds '[0,1]' -p num_epochs 5\""

# An environment without a working pip was interrupted while it was made: it is made anew.
.venv/.installed: requirements.txt
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "Installing requirements.txt into .venv"
	@$(RUN) pip install -q -r requirements.txt
	@touch $@

.venv/.tested: .venv/.installed tests/requirements.txt
	@echo "Installing tests/requirements.txt into .venv"
	@$(RUN) pip install -q -r tests/requirements.txt
	@touch $@

.venv/.course: .venv/.installed
	@echo "Installing nbgrader into .venv"
	@$(RUN) pip install -q "nbgrader>=0.9"
	@touch $@

.venv/.lab: .venv/.installed
	@echo "Installing JupyterLab into .venv"
	@$(RUN) pip install -q "jupyterlab>=4.2"
	@touch $@
