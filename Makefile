# Every target does its own set-up. CLUSTER=current uses the kubeconfig's current context instead of a local cluster.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export CLUSTER ?= local
unexport PYTHONDONTWRITEBYTECODE  # each of pytest's workers would compile every test anew
PYTHON ?= python3
UV = $(PYTHON) hack/uv.py
RUN = $(UV) run --locked
# Five keep two cores busy; each worker has a control plane of its own.
WORKERS ?= 5
BY_FILE = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
CLUSTERCTL = $(PYTHON) hack/cluster

.PHONY: help
help: ## List the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Run the main job: tune, register, serve, ask; report in .demo/report.json
	@$(UV) sync --locked --quiet
	@$(RUN) python -m hack.demo run

.PHONY: demo-clean
demo-clean: ## Remove all that the demo made, the local cluster included
	@$(UV) sync --locked --quiet
	@$(RUN) python -m hack.demo clean

.PHONY: test
test: integration-programs ## Run the unit and integration tests
	@$(RUN) pytest tests/integration tests/unit $(BY_FILE)

.PHONY: programs
programs: ## Build the programs that the other targets need, in one go
	@$(CLUSTERCTL) binaries node

.PHONY: test-unit
test-unit: ## Run the tests that need nothing outside the process
	@$(RUN) pytest tests/unit -n 2

.PHONY: test-integration
test-integration: integration-programs ## Run the tests against a real kube-apiserver, etcd, controller-manager and S3 server
	@$(RUN) pytest tests/integration $(BY_FILE)

.PHONY: integration-programs
integration-programs:
	@$(UV) sync --locked --quiet --compile-bytecode
	@{ $(RUN) python -m tests.integration.trainer_process && $(RUN) python -m tests.integration.dvc_project && $(RUN) python -m tests.integration.mlflow_server; } & $(CLUSTERCTL) binaries integration && wait $$!

.PHONY: test-scale
test-scale: ## Run 1,000 resources on KWOK nodes and check the limits
	@$(CLUSTERCTL) binaries scale
	@$(RUN) pytest tests/scale

.PHONY: e2e
e2e: ## Run the main job, resume included, on the local cluster
	@$(RUN) pytest tests/e2e -m "not long"

.PHONY: e2e-all
e2e-all: test-kueue ## Run the main job, then every objective, images and several processes in pods, and Kueue's tests
	@$(RUN) pytest tests/e2e

.PHONY: test-kueue
test-kueue: ## Queue trainings with the real Kueue
	@$(UV) sync --locked --quiet
	@$(CLUSTERCTL) binaries kueue
	@$(RUN) pytest tests/kueue

.PHONY: gpu
gpu: ## Train every method, objective and modality on this machine's GPUs; print one table
	@$(RUN) pytest tests/gpu -rs

.PHONY: verify
verify: ## Check format, lint, types, layers, generated files and the chart
	@$(RUN) ruff format --check .
	@$(RUN) ruff check .
	@$(RUN) mypy
	@$(RUN) lint-imports
	@$(RUN) python -m hack.crds --check
	@$(RUN) python -m hack.docs --check
	@$(RUN) python -m hack.demo.dataset --check
	@$(CLUSTERCTL) binaries helm
	@$(CLUSTERCTL) helm lint --strict charts/modelgarden

.PHONY: mutants
mutants: ## Break the decisions on purpose and count what the unit tests notice (20 minutes; ONLY='modelgarden.serving.rollout*')
	@$(RUN) --group mutants python -m hack.mutants $(if $(ONLY),'$(ONLY)')

.PHONY: crds
crds: ## Generate the CRDs, the chart's copies and the reference pages from the API
	@$(RUN) python -m hack.crds
	@$(RUN) python -m hack.docs

.PHONY: images
images: ## Build the operator, train and serve images into the local cluster
	@$(CLUSTERCTL) images

.PHONY: cluster-up
cluster-up: ## Start the local one-node cluster and its S3 server
	@$(CLUSTERCTL) up

.PHONY: cluster-down
cluster-down: ## Stop the local cluster and remove what it left
	@$(CLUSTERCTL) down

.PHONY: run
run: ## Run the operator from the checkout against the current kubeconfig
	@$(RUN) modelgarden-operator
