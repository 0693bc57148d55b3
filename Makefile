PYTHON := .venv/bin/python

.PHONY: setup test
setup: .venv/.done

.venv/.done: requirements.txt pyproject.toml
	python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(PYTHON) -c "import detectron2" 2>/dev/null || $(PYTHON) -m pip install --quiet --no-deps \
	  --only-binary=:all: --python-version 3.10 sal-detectron2==0.7.2 \
	  --target "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	$(PYTHON) -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

test: setup
	$(PYTHON) -m pytest -q tests
