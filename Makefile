# Verbs for people. The build itself is Meson: see meson.build.

PREFIX ?= /usr/local
BUILD  ?= build
NINJA   = ninja -C
DEPS   ?= tools/install-deps

.PHONY: all build run test unit fuzz asan tsan cover prove interop bench fmt check-layers install clean

all: build

$(BUILD)/build.ninja:
	@$(DEPS) build
	meson setup $(BUILD) --prefix=$(PREFIX)

build: $(BUILD)/build.ninja ## compile everything
	@$(NINJA) $(BUILD)

run: build ## serve a ready policy on loopback
	@exec tools/run-demo $(BUILD)/src/cli/barid

test: ## install what is missing, build, run every test
	@$(DEPS) build test
	@$(MAKE) --no-print-directory build
	meson test -C $(BUILD) --no-rebuild --print-errorlogs -t 3

unit: build ## only the tests beside the code
	meson test -C $(BUILD) --no-rebuild --print-errorlogs --suite unit

fuzz: ## SECONDS=20 of each fuzz target
	@$(DEPS) build test
	tools/run-fuzz build-fuzz $(or $(SECONDS),20)

asan: ## every test under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(DEPS) build test
	@test -f build-asan/build.ninja || meson setup build-asan -Dbuildtype=debug -Db_sanitize=address,undefined
	@$(NINJA) build-asan
	meson test -C build-asan --no-rebuild --print-errorlogs -t 4

tsan: ## the tests beside the code, and the daemon under load, under ThreadSanitizer
	@$(DEPS) build test
	@test -f build-tsan/build.ninja || meson setup build-tsan -Dbuildtype=debug -Db_sanitize=thread
	@$(NINJA) build-tsan
	meson test -C build-tsan --no-rebuild --print-errorlogs --suite unit -t 6
	meson test -C build-tsan --no-rebuild --print-errorlogs --suite load -t 6

cover: ## line coverage of the tests beside the code; four folders must be above 90 %
	@$(DEPS) build test
	@test -f build-cover/build.ninja || meson setup build-cover -Dbuildtype=debug -Db_coverage=true
	@$(NINJA) build-cover
	@find build-cover -name '*.gcda' -delete
	meson test -C build-cover --no-rebuild --print-errorlogs --suite unit -t 3
	gcovr -r . --object-directory build-cover -f 'src/' -e '.*_(test|fuzz|testing)\.[ch]' \
	  --html-details build-cover/coverage.html --json-summary build-cover/coverage.json
	@tools/check-cover build-cover/coverage.json

prove: ## crashes, faults, failing memory and hostile peers, with the counts in one block
	@$(DEPS) build test
	@$(MAKE) --no-print-directory build
	@tools/prove $(BUILD)

interop: build ## MESSAGES=1000 through each of Postfix and Exim, and into Dovecot
	@$(DEPS) build test
	BARID_INTEROP_MESSAGES=$(or $(MESSAGES),1000) meson test -C $(BUILD) --no-rebuild --print-errorlogs -t 6 interop

bench: build ## side by side with other servers
	@$(DEPS) build test
	bench/run $(BUILD)/src/cli/barid

fmt: ## format what differs from the last commit
	@$(DEPS) fmt
	git diff --name-only --diff-filter=d HEAD -- '*.c' '*.h' | xargs -r clang-format -i

check-layers: ## includes point downwards only
	tools/check-layers

install: build
	meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf build build-asan build-tsan build-cover build-fuzz
