# A thin front for bootstrap.py, which does the work and also runs without make (Windows).
#
#   make demo                           a pair made by code
#   make demo CLIP=a.mkv REF=b.mkv      your own files: clip's frames put in step with ref; TR=200 to look further
#   make test ARGS="-k window"          options for pytest

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-torch docs lint clean

# Taken as they were written: a $ in a file's name is not expanded.
override CLIP := $(value CLIP)
override REF := $(value REF)
export CLIP REF
unexport PYTHONHOME PYTHONPATH

# Any Python that really runs will do to start with (pyenv's shims may not): bootstrap.py looks for a fitting one itself.
OLD_ENOUGH = import sys; sys.exit(sys.version_info < (3, 8))
define bootstrap
@for p in "$$VS_ALIGN_PYTHON" python3.14 python3.13 python3.12 python3 python "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/*/bin/python; do \
	if "$$p" -c '$(OLD_ENOUGH)' >/dev/null 2>&1; then exec "$$p" bootstrap.py $(1); fi; \
done; echo "make: no Python runs here; install Python 3.12 or newer" >&2; exit 1
endef

help:
	@echo "make demo        set up .venv and synchronise a pair made by code; CLIP=a.mkv REF=b.mkv for your own files"
	@echo "make test        set up .venv and run the tests; ARGS=... goes to pytest"
	@echo "make test-torch  the tests that need torch: a large download first, minutes more"
	@echo "make docs        build the documentation into site/"
	@echo "make lint        ruff and mypy"
	@echo "make clean       delete .venv, demo_out and the caches"

demo:
	$(call bootstrap,demo --clip="$$CLIP" --ref="$$REF" --tr="$(TR)")

test:
	$(call bootstrap,test $(ARGS))

test-torch:
	$(call bootstrap,test-torch $(ARGS))

docs:
	$(call bootstrap,docs)

lint:
	$(call bootstrap,lint)

clean:
	$(call bootstrap,clean)
