# What a contributor runs. On a bare Debian machine (root, Go, make) each of
#
#	make demo	brings examples/dockercoins up and prints its URL
#	make test	runs every test, those on a real cluster included
#
# does all that it needs first: engine, node image, base images (hack/offline).
# The second has what the first has made, and the other way round.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

STATICCHECK := go tool -modfile=hack/tools/go.mod staticcheck
GO_FILES = $(wildcard $(shell git ls-files --cached --others --exclude-standard -- '*.go'))
# Packages that have tests behind the tag e2e, which need the engine.
E2E = $(shell git grep -l --untracked '^//go:build e2e' -- '*_test.go' | xargs -n1 dirname | sort -u | sed 's|^|./|')

# How everything but the race detector's variant is compiled, the programs of the node
# image included (hack/internal/nodeimage): what they share is compiled once. Nobody debugs
# these programs, and leaving DWARF out saves an eighth of the time; the larger heap is
# the compilers' alone.
GOC := CGO_ENABLED=0 GOGC=400
FLAGS := -trimpath -gcflags=all=-dwarf=false
RUN := CGO_ENABLED=0 go run $(FLAGS)
TEST := $(GOC) go test $(FLAGS) -exec='env -u GOGC'

.PHONY: build embed demo offline-demo offline-images demo-down offline test check lint fmt vet cross cross-check staticcheck unit e2e generate fuzz bench-watch chaos-ports bench-tui pictures bench-build soak-store bench-sync bench-deploy soak bench-logs soak-logs clean help

# Nothing in kdev needs cgo.
build: embed ## compile bin/kdev, with the programs that it puts into clusters
	@echo "compiling bin/kdev: some minutes the first time"
	$(GOC) go build $(FLAGS) -ldflags="-s -w" -o bin/kdev ./cmd/kdev

embed: ## compile those programs into internal/embedded/bin
	$(RUN) ./internal/embedded/gen

# The base images of the example alone: the tests need twice as many. They are mostly
# downloads, so kdev is compiled beside; the node's programs come after it and are
# compiled from what it has compiled.
demo: ## bring the example up and leave it running
	$(MAKE) --jobs=2 --output-sync=line offline-images build IMAGES='python node golang redis'
	$(RUN) ./hack/offline all python node golang redis
	hack/demo.sh up

offline-images:
	$(RUN) ./hack/offline base-images $(IMAGES)

demo-down: ## stop and remove what `make demo` started
	hack/demo.sh down

offline: ## engine, node image and base images, where the machine has none
	$(RUN) ./hack/offline all

# What needs no cluster runs beside what is mostly waiting for downloads. The first two
# lines compile the same packages, so they are not run at once.
test: ## everything that CI runs
	$(MAKE) --jobs=2 --output-sync=line offline-images lint
	$(MAKE) --jobs=2 --output-sync=line offline unit
	$(MAKE) e2e

check: ## what needs no cluster
	$(MAKE) lint
	$(MAKE) unit

lint: ## gofmt, vet, staticcheck, and types for each platform
	$(MAKE) fmt
	$(MAKE) vet
	$(MAKE) cross-check
	$(MAKE) staticcheck

fmt:
	@echo gofmt -l; unformatted=$$(gofmt -l $(GO_FILES)); \
	if [ -n "$$unformatted" ]; then echo "not formatted:"; echo "$$unformatted"; exit 1; fi

vet:
	$(GOC) go vet $(FLAGS) ./...
	$(GOC) go vet $(FLAGS) -tags e2e $(E2E)
	cd examples/dockercoins/hasher && go vet ./...

# What kdev is made for. Every run type-checks it for each of them (10 s a
# platform); `make cross` compiles and links, which takes long on an empty cache.
PLATFORMS = $(foreach os,linux darwin windows,$(os)/amd64 $(os)/arm64)

cross: ## build and vet kdev for linux, darwin and windows, amd64 and arm64
	@for p in $(PLATFORMS); do ( \
		export CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/}; echo "cross $$p"; \
		go build -trimpath -o /dev/null ./cmd/kdev; \
		go vet $$(go list -deps -f '{{with .Module}}{{if .Main}}{{$$.ImportPath}}{{end}}{{end}}' ./cmd/kdev) ); done

cross-check:
	$(RUN) ./hack/cross ./cmd/kdev $(PLATFORMS)
	$(RUN) ./hack/cross -test ./watch,./internal/tree/... $(PLATFORMS)
	@for p in $(PLATFORMS); do echo "compile ./watch for $$p"; CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} go build ./watch/... ./internal/tree/...; done

staticcheck:
	$(GOC) GOFLAGS='$(FLAGS)' $(STATICCHECK) -tags e2e ./...

unit: ## unit and script tests, with the race detector
	GOGC=400 go test -race -gcflags=all=-dwarf=false -exec='env -u GOGC' -count=1 -shuffle=on ./...
	cd examples/dockercoins/hasher && go test ./...

e2e: embed ## the tests on a real cluster; one package at a time, they share the engine
	$(TEST) -tags e2e -count=1 -p 1 -timeout 40m $(E2E)

# Makes clusters and a registry of its own, and removes them. Alone on the machine the
# figures are those of the machine; otherwise compare with the floors.
bench-build: offline build ## measure the image path on a real cluster: table, and JSON in bench-build.json (6 min)
	$(RUN) ./test/benchbuild -kdev $(CURDIR)/bin/kdev >bench-build.json

# The figure of issue 5: 200 rebuilds of a layer of 30 MB, and a collection.
soak-store: embed ## rebuild a large layer 200 times and collect the store (2 min)
	KDEV_LAYER_MB=30 $(TEST) -count=1 -v -timeout=20m -run='^TestManyRebuildsAreCollected$$' ./build

bench-sync: offline embed ## measure syncing on a real cluster: table, and JSON in bench-sync.json (8 min)
	$(RUN) ./test/benchsync >bench-sync.json

# KDEV_CHAOS_SEED=n repeats or changes a run; the seed is in the output.
soak: offline embed ## an hour of random saves while everything around them fails
	KDEV_CHAOS_FOR=1h $(TEST) -tags e2e -count=1 -timeout 90m -run '^TestChaos$$' -v ./sync/e2e

generate: ## write the files that follow from the code
	go generate ./...

fuzz: ## a minute of fuzzing for each fuzz test
	for f in $$(git grep -l --untracked '^func Fuzz' -- '*_test.go'); do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$f); do \
			go test -run '^$$' -fuzz "^$$name$$" -fuzztime 60s ./$$(dirname $$f); \
		done; \
	done

bench-watch: ## the figures of docs/watch.md, each beside its aim (3 min)
	$(TEST) ./watch -run '^$$' -bench . -benchtime 1x -count=1 -timeout 15m

chaos-ports: offline embed ## a forwarded port while its pod is replaced 50 times (4 min, a real cluster)
	KDEV_E2E_REPLACEMENTS=50 $(TEST) -tags e2e ./test/e2e -run TestForwardedPort -count=1 -v -timeout 20m

bench-tui: ## the dashboard under load and at rest, each figure beside its aim (1 min)
	$(RUN) ./tui/bench

# Uses the cluster that bin/kdev up would use, and tmux; the example is removed again.
pictures: offline build ## the pictures of docs/dashboard.md, from a real run of the example (3 min)
	hack/pictures.sh

bench-deploy: offline build ## render, apply, start and explain on a real cluster: table, and JSON in bench-deploy.json (4 min)
	$(RUN) ./test/benchdeploy -kdev $(CURDIR)/bin/kdev >bench-deploy.json

# Takes a cluster of its own, and compares with stern and kubectl where they are on the
# PATH: GOBIN=… go install github.com/stern/stern@v1.34.0.
bench-logs: offline build ## the figures of docs/logs.md, each beside its aim (5 min); JSON in bench-logs.json
	$(RUN) ./test/benchlogs -kdev $(CURDIR)/bin/kdev -cluster kdev-bench-logs >bench-logs.json

# Slow cores bring fewer lines a second through kubelet and API server, whoever reads
# (two of them 12,000 on one machine, 20,000 on another): `make soak-logs RATE=300` there.
soak-logs: RATE ?= 1000
soak-logs: offline embed ## follow 20 containers of 1,000 lines a second for ten minutes (the end-to-end tests: one)
	$(TEST) -tags e2e -count=1 -timeout 30m -v -run '^TestSoak$$' ./logs/e2e -soak 10m -soak-rate $(RATE)

clean: ## remove what make build made
	rm -rf bin
	find internal/embedded/bin -name '*.gz' -delete

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14
