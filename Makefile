# `make faces` and `make demo` show the main job, `make test` runs the whole test suite; each does its own set-up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FACES := mobilestylegan-ffhq-1024
PERSON := experiments/people/collins.jpg
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: faces demo test real lint types docs mutants wheel clean

# real networks: four faces of 1024 pixels get older and smile, then come near a person; other networks judge. 196 MB of
# packages, once. Large blocks are kept by malloc (glibc) instead of mapped anew at each step: 1.1 s a gradient instead of 1.6
faces: export MALLOC_MMAP_THRESHOLD_ = 1000000000
faces: export MALLOC_TRIM_THRESHOLD_ = 2000000000
faces: $(VENV)/core
	$(BIN)/latentzoo fetch $(FACES) face-api human
	$(BIN)/latentzoo sample $(FACES) --chains 4 --steps 36 --micro-batch 1 --out runs/faces --force \
		--energy "attribute(model=face-api)=happy" --energy "age=70 +- 5"
	$(BIN)/latentzoo evaluate runs/faces --held-out "attribute(model=human)=happy" --held-out "age(model=human)=70 +- 5"
	$(BIN)/latentzoo sample $(FACES) --chains 4 --steps 28 --micro-batch 1 --out runs/person --force \
		--energy "identity(model=human, name=mobileface)=$(PERSON)" \
		--energy "identity(model=face-api, name=dlib)=$(PERSON)"
	$(BIN)/latentzoo evaluate runs/person --held-out "identity(model=faceres)=$(PERSON)"
	@echo "From start (above) to end (below): $(CURDIR)/runs/faces/pairs.png and $(CURDIR)/runs/person/pairs.png"

demo: $(VENV)/core
	$(BIN)/latentzoo sample avatar-turbo --steps 120 --out runs/demo --force \
		--text "a person with sunglasses and a yellow hat"
	@echo "The pictures: $(CURDIR)/runs/demo/grid.png"
	@echo "Go on with: $(BIN)/latentzoo list   (or, once in this shell, \`. $(BIN)/activate\`, then \`latentzoo list\`)"

test: $(VENV)/dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

# the networks of other people's packages, which are fetched once (about 240 MB with the guides)
real: $(VENV)/dev
	$(BIN)/python -m pytest -m real tests/real tests/docs

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev
	$(BIN)/pyright

docs: $(VENV)/docs
	$(BIN)/zensical build --strict --clean
	$(BIN)/python tools/site/finish.py site

# breaks the code one line at a time and says whether the fast tests notice; takes half an hour
mutants: $(VENV)/dev
	$(BIN)/python tests/mutants.py

wheel: $(VENV)/dev
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

$(VENV)/bin/python:
	@echo "Making the environment $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

# torch first and alone, so that nothing else can pull another build of it
$(VENV)/core: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing torch; this takes a minute or more ..."
	@$(PIP) torch
	@echo "Installing latentzoo ..."
	@$(PIP) --editable .
	@touch $@

$(VENV)/dev: $(VENV)/core
	$(PIP) --editable '.[dev]'
	touch $@

$(VENV)/docs: $(VENV)/core
	$(PIP) --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) dist build site .pytest_cache .ruff_cache
