# make demo | study | test | lab | lint | docs | reference | bench | bench-gpu; each makes .venv first.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo study test lab lint docs reference bench bench-gpu clean

demo: $(READY)
	$(BIN)/matchlib run params/demo.yaml

study: $(READY)
	$(BIN)/matchlib run params/study.yaml

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile

lab: $(READY)
	git config filter.nbstripout.clean "$(BIN)/python -m nbstripout"
	git config filter.nbstripout.required true
	$(BIN)/jupyter lab

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify notebooks/*.ipynb
	$(BIN)/pip install -q mypy==2.4.1
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/pip install -q pdoc==16.0.0
	$(BIN)/pdoc -o build/docs matchlib

reference: demo
	$(BIN)/matchlib report demo --zip
	rm -rf reports/reference/demo
	$(BIN)/python -m zipfile -e reports/demo.zip reports/reference
	for f in reports/demo/*/leaderboard.csv; do cp $$f reports/reference/demo/$$(basename $$(dirname $$f))/; done

bench: $(READY)
	for b in $(filter-out benchmarks/bench_kills.py benchmarks/bench_shard_kills.py benchmarks/bench_gpu.py,$(wildcard benchmarks/bench_*.py)); do OMP_NUM_THREADS=2 $(BIN)/python $$b || exit 1; done

bench-gpu: $(READY)
	$(BIN)/python benchmarks/bench_gpu.py

clean:
	rm -rf .venv .cache .snakemake build *.egg-info

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed; say where it is: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -r requirements.lock
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	touch $@
