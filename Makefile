# Two commands are enough: `make demo` shows Mulgil at work, `make test` proves it. Both install what they lack.

CARGO   ?= cargo
PYTHON  ?= python3
BINARY  := target/release/mulgil
DEMO_DIR ?= demo-flights
UI_SOURCES := $(shell find ui/src ui/index.html ui/package.json ui/package-lock.json ui/vite.config.* ui/tsconfig*.json -type f 2>/dev/null)

.PHONY: demo build ui test check fmt lint python browser postgres victoria-metrics kafka jdbc odbc s3 openssl fuzz kill-matrix clean-demo bench-nexmark

## The bundled flights project, live in the browser.
demo: build
	$(BINARY) demo $(DEMO_DIR)

build: ui openssl
	$(CARGO) build --release --locked --package mulgil-cli

ui: ui/dist/index.html

ui/node_modules/.package-lock.json: ui/package.json ui/package-lock.json
	npm ci --prefix ui --no-audit --no-fund --loglevel=error
	@touch $@

ui/dist/index.html: ui/node_modules/.package-lock.json $(UI_SOURCES)
	npm run build --prefix ui --silent
	@touch $@

## Every test: Rust, the web UI's units, and the real thing in a real browser.
test: ui python browser postgres victoria-metrics kafka jdbc odbc s3 openssl
	$(CARGO) test --workspace --locked
	FUZZ_SEED=1 fuzz/run 5
	$(PYTHON) -m unittest discover --quiet --start-directory python/tests
	npm test --prefix ui --silent
	bash tests/e2e.sh

## Formatting, lints, layers, generated code: everything that needs no running system.
check: ui openssl
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --features mulgil-fuzz/fuzzing --locked -- -D warnings
	npm run check:api --prefix ui --silent
	npm run typecheck --prefix ui --silent

python: .venv/.installed

.venv/.installed: tests/requirements.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt
	@touch $@

browser:
	@command -v chromium >/dev/null || { \
	  echo "installing chromium for the browser tests"; \
	  sudo=$$([ $$(id -u) = 0 ] || echo sudo); \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk >/dev/null; }

## Tests start clusters of their own with Debian's programs; its service is not used.
postgres:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { \
	  echo "installing postgresql for the tests"; \
	  sudo=$$([ $$(id -u) = 0 ] || echo sudo); \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null; }

## Tests start a database for time series of their own; Debian's service is not used.
victoria-metrics:
	@command -v victoria-metrics >/dev/null || { \
	  echo "installing victoria-metrics for the tests"; \
	  sudo=$$([ $$(id -u) = 0 ] || echo sudo); \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends victoria-metrics >/dev/null; \
	  $$sudo systemctl disable --now victoria-metrics 2>/dev/null || true; }

## Tests start a broker of their own from Apache Kafka's packages; they are fetched once.
kafka: target/kafka/.fetched

target/kafka/.fetched: tests/kafka/pom.xml
	@command -v mvn >/dev/null || { \
	  echo "installing maven and a Java runtime for the tests"; \
	  sudo=$$([ $$(id -u) = 0 ] || echo sudo); \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends maven default-jre-headless >/dev/null; }
	@rm -rf target/kafka/libs
	mvn -q -B -f tests/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/target/kafka/libs
	@touch $@

## PostgreSQL's JDBC driver reads the SQL port in the tests.
jdbc: target/jdbc/.fetched

target/jdbc/.fetched: tests/jdbc/pom.xml
	@command -v mvn >/dev/null || { \
	  echo "installing maven and a Java runtime for the tests"; \
	  sudo=$$([ $$(id -u) = 0 ] || echo sudo); \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends maven default-jre-headless >/dev/null; }
	@rm -rf target/jdbc/libs
	mvn -q -B -f tests/jdbc/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/target/jdbc/libs
	@touch $@

## PostgreSQL's ODBC driver reads the SQL port in the tests.
odbc:
	@odbcinst -q -d -n "PostgreSQL Unicode" >/dev/null 2>&1 || { \
	  echo "installing unixODBC and PostgreSQL's ODBC driver for the tests"; \
	  sudo=$$([ $$(id -u) = 0 ] || echo sudo); \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends unixodbc odbcinst odbc-postgresql >/dev/null; }

## Tests start an S3-compatible server of their own: Versity's gateway, built through the Go module proxy.
VERSITYGW := v1.8.0
s3: target/s3/bin/versitygw

target/s3/bin/versitygw:
	@command -v go >/dev/null || { \
	  echo "installing Go to build the S3 server of the tests"; \
	  sudo=$$([ $$(id -u) = 0 ] || echo sudo); \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends golang-go >/dev/null; }
	GOBIN=$(CURDIR)/target/s3/bin go install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW)

## The Kafka client is linked with the system's OpenSSL.
openssl:
	@pkg-config --exists openssl 2>/dev/null || { \
	  echo "installing OpenSSL's headers"; \
	  sudo=$$([ $$(id -u) = 0 ] || echo sudo); \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libssl-dev pkg-config openssl >/dev/null; }

## Ten minutes for each reader of bytes; `fuzz/run SECONDS TARGET` for one.
fuzz: openssl
	fuzz/run 600

## Kills the release program twenty times in each cell of Nexmark's questions and exactly-once systems: some three quarters of an
## hour. The result stands in docs/reliability.md.
kill-matrix: build postgres kafka
	MULGIL_KILLS=20 MULGIL_PROGRAM=$(CURDIR)/$(BINARY) $(CARGO) test --workspace --locked --test nexmark every_system -- --nocapture

clean-demo:
	rm -rf $(DEMO_DIR)

## Nexmark: Mulgil, then Apache Flink and DuckDB over the same files. See bench/nexmark/README.md. Both packages are named so that
## their features are one set, and what `make build` has compiled is not compiled again.
bench-nexmark: target/nexmark/venv/.installed
	$(CARGO) build --release --locked --package mulgil-cli --package mulgil-nexmark --bin mulgil-nexmark
	target/release/mulgil-nexmark check
	target/release/mulgil-nexmark run
	target/nexmark/venv/bin/python bench/nexmark/flink.py
	target/nexmark/venv/bin/python bench/nexmark/duck.py

target/nexmark/venv/.installed: bench/nexmark/requirements.txt
	$(PYTHON) -m venv target/nexmark/venv
	target/nexmark/venv/bin/pip install --quiet --disable-pip-version-check --requirement bench/nexmark/requirements.txt
	@touch $@
