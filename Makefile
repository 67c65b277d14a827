# ArchibaldOS. Every target sets itself up from nothing: the Python environment in .venv from
# requirements.lock, and the host tools that are missing (announced first; see scripts/host-tools).

.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

# The profile to build, the image to run (default: the newest in out/), and further arguments.
PROFILE ?= archibald.toml
ISO ?=
ARGS ?=

PYTEST = .venv/bin/python -m pytest

.PHONY: help bootstrap iso run check test torture docs lock clean distclean

help: ## List the targets
	@echo 'make TARGET [PROFILE=archibald.toml] [ISO=out/NAME.iso] [ARGS="further arguments"]'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

bootstrap: ## Make the Python environment in .venv (every target does)
	@scripts/bootstrap

iso: bootstrap ## Build the bootable ISO of the profile into out/
	@scripts/host-tools build
	.venv/bin/archibald build iso --profile '$(PROFILE)' $(ARGS)

run: bootstrap $(if $(ISO)$(wildcard out/*.iso),,iso) ## Boot the ISO in QEMU; builds it first if there is none
	@scripts/host-tools vm $(if $(DISPLAY)$(WAYLAND_DISPLAY),window)
	.venv/bin/archibald run $(if $(ISO),'$(ISO)',"$$(ls -t out/*.iso | head -n 1)") $(ARGS)

check: bootstrap ## Lint, types, layers, spelling, scripts and unit tests (minutes, no image)
	@scripts/host-tools check
	$(PYTEST) -m 'not vm and not torture and not slow' $(ARGS)

test: bootstrap ## What check does, then build an image, boot it and look inside
	@scripts/host-tools check build vm media measure
	$(PYTEST) -m 'not torture' $(ARGS)

torture: bootstrap ## Everything: each firmware, variant and fault
	@scripts/host-tools check build vm media measure
	$(PYTEST) $(ARGS)

docs: bootstrap ## Write the generated documents in docs/reference
	@scripts/docs

lock: bootstrap ## Write requirements.lock anew; UPGRADE=1 takes newer versions
	@scripts/lock $(if $(UPGRADE),--upgrade)
	@scripts/bootstrap

clean: ## Remove out/, .venv and every cache in this tree
	rm -rf out .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove the download cache of this user as well
	@[ -z "$${ARCHIBALD_CACHE:-}" ] || echo "left alone, remove it yourself: $$ARCHIBALD_CACHE"
	rm -rf "$${XDG_CACHE_HOME:-$${HOME:?}/.cache}/archibald"
