# Two commands: `make demo` and `make test`. Each makes .venv on first use and installs what constraints.txt pins.
# TORCH_INDEX: an index for torch alone, such as https://download.pytorch.org/whl/cpu on a machine without a GPU.
PYTHON ?= python3
FAISS ?= cpu
TORCH_INDEX ?=
BENCH ?=
# PEP 517: otherwise Debian 12's pip builds seqeval, which has no wheel, with a tool that has lost a part of itself.
INSTALL = .venv/bin/python -m pip --disable-pip-version-check install --quiet --use-pep517 -c constraints.txt
export HF_HUB_OFFLINE ?= 1

.PHONY: demo test check serve bench clean

demo: .venv/run
	.venv/bin/discover run configs/demo.yaml --run runs/demo

# One thread a worker: the threads of two on two cores would wait for each other.
test: .venv/test
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 --dist loadfile

check: .venv/test
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

serve: .venv/run
	.venv/bin/discover serve configs/site.yaml

bench: .venv/bench
	.venv/bin/python -m tests.benchmarks $(if $(BENCH),--only $(BENCH))

clean:
	rm -rf .venv build *.egg-info

.venv/bin/python:
	$(PYTHON) -m venv .venv

# torch first: the default index would bring gigabytes of CUDA where TORCH_INDEX offers a CPU build of the same version.
.venv/torch: .venv/bin/python constraints.txt
	$(INSTALL) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	touch $@

.venv/run: .venv/torch pyproject.toml
	$(INSTALL) -e '.[$(FAISS)]'
	touch $@

.venv/test: .venv/run
	$(INSTALL) -e '.[$(FAISS),test]'
	touch $@

.venv/bench: .venv/test
	$(INSTALL) -e '.[$(FAISS),test,bench]'
	touch $@
