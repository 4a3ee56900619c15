# PulseVault. `make` lists what there is; `make run` and `make test` need nothing but Git, Go and make.

GO      ?= go
RACE    ?= -race
BASE_URL ?= http://127.0.0.1:3000
MEDIA   ?= events/media

# go.mod says which Go is wanted; some distributions keep theirs from fetching it.
GOTOOLCHAIN ?= auto
export GOTOOLCHAIN

ifeq ($(origin VERSION),undefined)
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
endif

STATICCHECK_VERSION  := v0.8.2
GOLANGCI_VERSION     := v2.15.0
GOVULNCHECK_VERSION  := v1.9.0
VERSITYGW_VERSION    := v1.8.0
STATICCHECK  := .tools/staticcheck@$(STATICCHECK_VERSION)/staticcheck
GOLANGCI     := .tools/golangci-lint@$(GOLANGCI_VERSION)/golangci-lint
GOVULNCHECK  := .tools/govulncheck@$(GOVULNCHECK_VERSION)/govulncheck
VERSITYGW    := .tools/versitygw@$(VERSITYGW_VERSION)/versitygw

FUNCTIONS := $(patsubst functions/%/main.go,%,$(wildcard functions/*/main.go))
SOURCES   := $(wildcard deploy functions local pkg)

# The version comes in by -X: Go's own stamp fails in a working copy that belongs to another user.
GOBUILD = CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -ldflags "-s -w -X pulsevault/pkg/app.Version=$(VERSION)"

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

# With -n (-q, -t) the installer runs all the same, and says what it would do.
SAY_ONLY = $(if $(or $(findstring n,$(FLAGS)),$(findstring q,$(FLAGS)),$(findstring t,$(FLAGS))),-n)
FLAGS    = $(firstword -$(MAKEFLAGS))

.PHONY: deps
deps: ## install what running needs (ffmpeg) where it is missing (make -n deps says how)
	+@GO="$(GO)" local/deps.sh $(SAY_ONLY) go ffmpeg ffprobe

.PHONY: deps-test
deps-test: ## install what the tests need (redis-server, an S3 server, curl, a C compiler for -race) as well
	+@GO="$(GO)" local/deps.sh $(SAY_ONLY) go ffmpeg ffprobe redis-server curl $(if $(RACE),cc)
	@$(MAKE) -s --no-print-directory $(VERSITYGW)

.PHONY: build
build: bin/pulsevault $(FUNCTIONS:%=bin/functions/%/bootstrap) ## build bin/pulsevault and bin/functions/*/bootstrap

.PHONY: FORCE
FORCE:

# Go knows by itself what is up to date.
bin/pulsevault: FORCE
	@$(GOBUILD) -o $@ ./local/pulsevault

bin/functions/%/bootstrap: FORCE
	@$(GOBUILD) -tags lambda.norpc -o $@ ./functions/$*

.PHONY: run
run: deps build ## install what is missing, build, and serve on http://localhost:3000 with the embedded Redis
	@exec bin/pulsevault serve

.PHONY: functions-up
functions-up: deps build ## host the compiled functions as AWS does, on http://localhost:3000 with the embedded Redis
	@exec bin/pulsevault emulate

.PHONY: invoke
invoke: build ## run one function once: make invoke FN=sign EVENT=events/sign.json (MEDIA= works on MEDIA_ROOT)
	@bin/pulsevault invoke $(FN) $(EVENT) $(if $(MEDIA),--media=$(MEDIA))

# The processor of the functions, as the template's parameter of the same name has it.
ARCHITECTURE ?= arm64
export ARCHITECTURE

# What `sam build` calls for each function of template.yaml that is no image.
build-%Function:
	@name=$$(echo $* | tr '[:upper:]' '[:lower:]'); GOOS=linux GOARCH=$(patsubst x86_64,amd64,$(ARCHITECTURE)) \
		$(GOBUILD) -tags lambda.norpc -o "$(ARTIFACTS_DIR)/bootstrap" ./functions/$$name

.PHONY: sam-tools
sam-tools:
	@command -v sam >/dev/null 2>&1 || { echo "sam is missing: install the AWS SAM CLI, see \
	https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/install-sam-cli.html \
	(make functions-up runs the functions without it)" | tr -d '\t' >&2; exit 1; }
	@docker compose version >/dev/null 2>&1 || { echo "docker with its compose plugin is missing: install Docker Engine or Docker \
	Desktop, see https://docs.docker.com/get-started/get-docker" | tr -d '\t' >&2; exit 1; }
	@docker info >/dev/null 2>&1 || { echo "docker does not answer: start it, and see that you may use it" >&2; exit 1; }

.PHONY: sam-build
sam-build: sam-tools ## build what `sam deploy` deploys (ARCHITECTURE=x86_64 for another processor than arm64)
	@sam build --parameter-overrides Architecture=$(ARCHITECTURE)

# SAM hands on the credentials that it finds, and the bucket in compose knows only those that SAM makes up for want of any.
NO_AWS = env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY -u AWS_SESSION_TOKEN -u AWS_PROFILE -u AWS_DEFAULT_PROFILE \
	AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_CONFIG_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true

.PHONY: sam-local
sam-local: ARCHITECTURE = $(subst aarch64,arm64,$(shell uname -m))
sam-local: sam-build ## run the functions by `sam local start-api` on http://localhost:3000, with Redis, a bucket and a worker from compose
	@docker compose -f local/compose.dev.yml --profile sam up --build --detach --wait
	@exec $(NO_AWS) sam local start-api --parameter-overrides Architecture=$(ARCHITECTURE)

.PHONY: test
test: deps-test ## install what is missing and run every test (RACE= leaves the race detector out)
	@for p in nginx node prometheus promtool; do \
		command -v $$p >/dev/null || echo "NOT TESTED: what needs $$p, which is not installed (TESTFLAGS=-v names the tests)"; \
	done
	@$(GO) test $(RACE) -timeout 60m $(TESTFLAGS) ./...
	@$(MAKE) -s --no-print-directory test-deploy

# A module of its own: the programs need nothing of Kubernetes.
.PHONY: test-deploy
test-deploy: ## hold the manifests of deploy/ against the types of Kubernetes and KEDA, and against the programs
	@cd deploy && $(GO) test $(TESTFLAGS) ./...

FUZZTIME ?= 1m

# What a target finds stays in testdata/fuzz beside it, and is a case of make test from then on.
.PHONY: fuzz
fuzz: ## fuzz each target for FUZZTIME (1m), one after another, up to the first that finds something
	@for package in $$(grep -rl --include='*_test.go' '^func Fuzz' $(SOURCES) | xargs -n 1 dirname | sort -u); do \
		targets=$$($(GO) test -list '^Fuzz' ./$$package) || { echo "$$targets"; exit 1; }; \
		for target in $$(echo "$$targets" | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./$$package || exit 1; \
		done; \
	done

.PHONY: lint lint-format lint-vet lint-staticcheck lint-golangci lint-vulnerabilities
lint: lint-format lint-vet lint-staticcheck lint-golangci lint-vulnerabilities ## gofmt, vet for every platform, staticcheck, golangci-lint, govulncheck

lint-format:
	@bad=$$("$$($(GO) env GOROOT)/bin/gofmt" -l $(SOURCES)) && { [ -z "$$bad" ] || { \
		echo "not formatted (make fmt):"; echo "$$bad"; exit 1; }; }

lint-vet:
	@$(GO) vet ./...
	@cd deploy && $(GO) vet ./...
	@$(GO) vet -tags failpoint ./...
	@GOOS=windows $(GO) vet ./...
	@GOOS=darwin $(GO) vet ./...

lint-staticcheck: $(STATICCHECK)
	@$(STATICCHECK) ./...

lint-golangci: $(GOLANGCI)
	@$(GOLANGCI) run --allow-parallel-runners ./...

# What is known to be wrong is on the network: without it this says so, and is no failure. A copy will do: VULNDB=file:///….
VULNDB ?= https://vuln.go.dev

lint-vulnerabilities: $(GOVULNCHECK)
	@out=$$($(GOVULNCHECK) -db $(VULNDB) ./... 2>&1) && status=0 || status=$$?; case $$status,$$out in \
		0,*) ;; \
		*"fetching vulnerabilities: "*) echo "NOT CHECKED for known vulnerabilities: $$out" >&2 ;; \
		*) echo "$$out"; exit 1 ;; \
	esac

# A tool lives in a folder that bears its version, so a new pin is a new file to make.
$(STATICCHECK):
	@echo "installing staticcheck $(STATICCHECK_VERSION)"
	@GOOS= GOARCH= CGO_ENABLED=0 GOBIN="$(CURDIR)/$(@D)" $(GO) install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)

$(GOLANGCI):
	@echo "installing golangci-lint $(GOLANGCI_VERSION) (some minutes, once)"
	@GOOS= GOARCH= CGO_ENABLED=0 GOBIN="$(CURDIR)/$(@D)" $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

$(GOVULNCHECK):
	@echo "installing govulncheck $(GOVULNCHECK_VERSION)"
	@GOOS= GOARCH= CGO_ENABLED=0 GOBIN="$(CURDIR)/$(@D)" $(GO) install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)

$(VERSITYGW):
	@echo "installing versitygw $(VERSITYGW_VERSION), an S3 server for the tests (some minutes, once)"
	@GOOS= GOARCH= CGO_ENABLED=0 GOBIN="$(CURDIR)/$(@D)" $(GO) install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW_VERSION)

.PHONY: fmt
fmt: ## format the code
	@"$$($(GO) env GOROOT)/bin/gofmt" -w $(SOURCES)

.PHONY: workflow
workflow: ## take a video through a running server (BASE_URL), in ten checked steps
	@local/deps.sh curl ffmpeg
	@BASE_URL="$(BASE_URL)" local/workflow.sh

.PHONY: on-prem
on-prem: ## set PulseVault up on this machine with Docker: .env, certificate, containers, first key (SKIP_SERVICES=)
	@VERSION="$(VERSION)" local/setup.sh

.PHONY: rotate
rotate: ## change a secret while all runs: SECRET=hmac (FINISH=yes, FORCE=yes), redis, certificate (FULLCHAIN= PRIVKEY=)
	@local/rotate.sh $(SECRET) $(if $(FINISH),--finish) $(if $(FORCE),--force) $(FULLCHAIN) $(PRIVKEY)

# Compose would take a VERSION of the environment, and not the one of .env.
.PHONY: backup
backup: ## take a snapshot of the running stack into BACKUP, a folder of user 10001 on another disk (KEEP_SNAPSHOTS=30)
	@test -d "$(BACKUP)" || { echo "BACKUP names no folder" >&2; exit 1; }
	@env -u VERSION docker compose run --rm --no-deps -T --volume "$(abspath $(BACKUP)):/backup" transcode-worker backup /backup --keep $(or $(KEEP_SNAPSHOTS),30)

.PHONY: restore-drill
restore-drill: ## bring the newest snapshot of BACKUP back in a container of its own, check it, and play of it
	@local/restore-drill.sh --stack "$(BACKUP)"

.PHONY: infrastructure
infrastructure: ## check the running stack in fifteen steps, through nginx as people reach it
	@local/infrastructure.sh

.PHONY: test-on-prem
test-on-prem: ## set the stack up apart from any other, check it, kill and fill it, and take it down (ONLY=, KEEP=)
	@local/test-on-prem.sh

.PHONY: bundle
bundle: ## put images, configuration and scripts into one archive, for a machine without a network (WITHOUT=, OUT=)
	@VERSION="$(VERSION)" local/bundle.sh

.PHONY: bench
bench: build ## measure upload, finalize, memory, streaming and functions beside the machine's own limits (BENCHFLAGS=-h)
	@local/deps.sh ffmpeg
	@CGO_ENABLED=0 $(GO) build -buildvcs=false -o bin/bench ./local/bench
	@exec bin/bench $(BENCHFLAGS)

.PHONY: bench-transcode
bench-transcode: build ## measure first picture, ladder, pieces and memory beside plain ffmpeg commands (BENCHFLAGS=-h)
	@local/deps.sh ffmpeg
	@CGO_ENABLED=0 $(GO) build -buildvcs=false -o bin/bench-transcode ./local/benchtranscode
	@exec bin/bench-transcode $(BENCHFLAGS)

.PHONY: clean
clean: ## remove what was built
	@rm -rf bin
