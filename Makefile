# `make help` lists the targets.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
UNITDIR ?= $(PREFIX)/lib/systemd/system
CHECKS ?=
SUITES ?=
ARCHES ?= x86_64 aarch64
FUZZ ?= policy
FUZZ_SECONDS ?= 60

# Namespaces and nft need root. For other users, cargo builds as that user and runs only the tests with sudo.
ifeq ($(shell id -u),0)
AS_ROOT :=
RUN_AS_ROOT :=
else
AS_ROOT := sudo
RUN_AS_ROOT := --config 'target."cfg(all())".runner = "sudo -E"'
endif

TARGET = $(or $(CARGO_TARGET_DIR),target)
BINARY = $(TARGET)/release/edgeward

.DEFAULT_GOAL := help
.PHONY: help demo test test-quick test-nft test-dns test-packages test-kernels dist dist-tools static qemu lint bench audit fuzz build install uninstall clean system dnsmasq iprange systemd faketime frr lint-tools

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: system ## Shows a policy at work in temporary network namespaces; the host's rules are not changed
	@$(CARGO) run --locked --quiet $(RUN_AS_ROOT) --example demo

# No test is skipped.
REQUIRE := REQUIRE_NETNS=1 REQUIRE_DNSMASQ=1 REQUIRE_IPRANGE=1 REQUIRE_IPSET=1 REQUIRE_SYSTEMD=1 \
	REQUIRE_FAKETIME=1 REQUIRE_FRR=1
TEST := $(REQUIRE) $(CARGO) test --locked --no-fail-fast $(RUN_AS_ROOT)

# The tests that take long. `make test-quick` runs the other ones, and of these a sample of each kind.
SLOW := damage kernel kill large lifecycle model netlink traffic units
SAMPLE := rules_that_the_kernel_does_not_have_are_not_confirmed express_connect_flannel:: dhcpv6_asks_all_servers_on_the_link a_list_that_changes_in_one_line_is_one_element \
	without_confirmation_the_former_generation_comes_back boot_loads_the_last_confirmed_generation \
	several_sets_change_at_once a_server_that_pushes_to_a_silent_client_loses_nothing single_packets_are_counted \
	services_may_do_what_their_verbs_do a_short_sequence who_restarts_nftables_does_not_leave_the_host_open
QUICK := $(filter-out $(SLOW),$(basename $(notdir $(wildcard tests/*.rs))))

test: system dnsmasq systemd iprange faketime frr ## Runs all tests, including those with real packets, DNS servers and systemd units
	$(TEST)

test-quick: system dnsmasq systemd iprange faketime frr ## Runs most tests, and a sample of the slow ones: under three minutes, once built
	$(TEST) --lib $(QUICK:%=--test %)
	$(TEST) $(SLOW:%=--test %) -- $(SAMPLE)

# Packages of other suites are unpacked below target/, with apt and the mirror that it knows; none is installed.
test-nft: system ## Loads all rulesets with the nft of Debian 11, 12, 13 and unstable, and runs the verbs with each (SUITES=)
	$(CARGO) build --locked --profile test
	$(AS_ROOT) env SUITES='$(SUITES)' bash tests/platforms/nft.sh $(TARGET)/debug/edgeward $(TARGET)/platforms


# Unpacked, not installed: a package would start its service.
DNS_SERVERS = $(TARGET)/platforms/dns-servers
test-dns: ## Asks BIND, unbound, Knot Resolver, PowerDNS Recursor and dnsmasq of Debian 12
	@[ -e $(DNS_SERVERS)/complete ] || { $(AS_ROOT) sh tests/platforms/suite.sh bookworm $(DNS_SERVERS) \
		bind9 unbound knot-resolver pdns-recursor && $(AS_ROOT) touch $(DNS_SERVERS)/complete; }
	DNS_SERVERS=$(abspath $(DNS_SERVERS)) $(CARGO) test --locked --test dns $(RUN_AS_ROOT) -- servers_that_sites_run --nocapture

dist: ## Builds static programs, .deb, .rpm, tarballs, bill of materials and SHA256SUMS in target/dist (ARCHES=; needs root for aarch64)
	ARCHES='$(ARCHES)' bash packaging/dist/dist.sh $(TARGET)/dist

# An older version to upgrade from is the same program in packages of a smaller number.
HOST = $(shell uname -m)
STATIC = $(TARGET)/dist-programs/$(HOST)
static:
	@mkdir -p $(TARGET)/dist-programs
	tar --extract --file $(TARGET)/dist/edgeward-*-linux-$(HOST).tar.gz --to-stdout --wildcards '*/bin/edgeward' > $(STATIC)
	@chmod 755 $(STATIC)

test-packages: dist-tools static ## Installs, upgrades, removes and purges the packages of `make dist` in trees of Debian 11, 12 and 13 (SUITES=)
	VERSION=0.0.1 PROGRAMS=$(TARGET)/dist-programs ARCHES=$(HOST) bash packaging/dist/dist.sh $(TARGET)/dist-older >/dev/null
	cd $(TARGET)/dist && sha256sum --quiet --check SHA256SUMS
	lintian --fail-on error $(TARGET)/dist/*.deb
	$(AS_ROOT) env SUITES='$(SUITES)' bash tests/platforms/packages.sh $(TARGET)/dist-older $(TARGET)/dist $(TARGET)/platforms

# With KVM where it works, otherwise emulated.
test-kernels: qemu static ## Runs the program of `make dist` on the kernels of Debian 11, 12, 13 and unstable in QEMU (SUITES=)
	SUITES='$(SUITES)' bash tests/platforms/kernels.sh $(STATIC) $(TARGET)/platforms

lint: lint-tools ## Checks format, lints and documentation; warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps

bench: system iprange build ## Measures functions, packets, and whole processes compared with nft and iprange (needs python3)
	$(CARGO) bench --locked --bench hot
	$(CARGO) bench --locked --bench packets $(RUN_AS_ROOT)
	$(AS_ROOT) python3 benches/processes.py $(BINARY)
	$(AS_ROOT) python3 benches/growth.py $(BINARY)

# Without the advisories, licences, sources and bans are still checked; so does tests/audit.rs, without any tool.
audit: ## Checks the dependencies, and the advisories about them if these can be fetched (CHECKS="bans licenses sources")
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install cargo-deny --locked
	@checks='$(CHECKS)'; note=:; \
	if [ -z "$$checks" ]; then \
		checks='bans licenses sources'; \
		if $(CARGO) deny --locked fetch db; then \
			checks="advisories $$checks"; \
		else \
			note='echo the advisories cannot be fetched from here: they were NOT checked'; \
		fi; \
	fi; \
	$(CARGO) deny --locked check $$checks && $$note >&2

fuzz: ## Searches for inputs that make edgeward panic (FUZZ=policy, or another target of fuzz/targets.rs; FUZZ_SECONDS=60; nightly)
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install cargo-fuzz --locked
	@mkdir -p fuzz/corpus/$(FUZZ)
	$(CARGO) +nightly fuzz run $(FUZZ) fuzz/corpus/$(FUZZ) policies fixtures/cases fixtures/invalid -- \
		-dict=fuzz/words.dict -max_len=4096 -max_total_time=$(FUZZ_SECONDS)

build: ## Builds the release binary
	$(CARGO) build --locked --release

UNITS = $(notdir $(wildcard packaging/systemd/*.service packaging/systemd/*.timer))
TEXTS = README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE

install: build ## Installs program, manual pages, completions, units and examples (DESTDIR= PREFIX=/usr/local)
	install -D -m 755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/edgeward
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(BINARY) man --out-dir $(DESTDIR)$(PREFIX)/share/man/man1
	$(BINARY) completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/edgeward
	$(BINARY) completions zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_edgeward
	$(BINARY) completions fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/edgeward.fish
	install -d $(DESTDIR)$(UNITDIR)
	for unit in $(UNITS); do \
		sed 's|/usr/bin/edgeward|$(PREFIX)/bin/edgeward|' packaging/systemd/$$unit > $(DESTDIR)$(UNITDIR)/$$unit || exit; \
	done
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/edgeward/policies policies/*.yaml
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/edgeward/policies/catalog policies/catalog/*.yaml
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/edgeward $(TEXTS)
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/edgeward/docs docs/*.md

# Undoes a pending change first, while the program is there to do it; the confirmed rules stay, unless
# SETTLE=--remove-rules. With DESTDIR, the rules of this host are none of its business.
SETTLE ?=
SYSTEMCTL = if [ -z '$(DESTDIR)' ] && [ -d /run/systemd/system ]; then systemctl
PAGES = $(DESTDIR)$(PREFIX)/share/man/man1
DOC = $(DESTDIR)$(PREFIX)/share/doc/edgeward

uninstall: ## Undoes a pending change, and removes what install has installed (SETTLE=--remove-rules removes the rules, too)
	@if [ -z '$(DESTDIR)' ] && [ -x '$(PREFIX)/bin/edgeward' ]; then \
		echo '$(PREFIX)/bin/edgeward uninstall $(SETTLE)' && \
		$(PREFIX)/bin/edgeward uninstall $(SETTLE); \
	fi
	@$(SYSTEMCTL) disable --now $(UNITS) || :; fi
	rm -f $(DESTDIR)$(PREFIX)/bin/edgeward
	rm -f $(UNITS:%=$(DESTDIR)$(UNITDIR)/%)
	rm -f $(PAGES)/edgeward.1 $(PAGES)/edgeward-*.1
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/edgeward
	rm -f $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_edgeward
	rm -f $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/edgeward.fish
	rm -f $(patsubst %,$(DOC)/%,$(wildcard policies/*.yaml policies/catalog/*.yaml docs/*.md) $(TEXTS))
	@for folder in $(DOC)/policies/catalog $(DOC)/policies $(DOC)/docs $(DOC); do \
		if [ -d $$folder ]; then rmdir --ignore-fail-on-non-empty $$folder; fi; \
	done
	@$(SYSTEMCTL) daemon-reload; fi

clean: ## Removes build results
	$(CARGO) clean
	rm -rf fuzz/target

# Installs the distribution's packages $(2) if one of the programs $(1) is missing.
define require
	@for program in $(1); do \
		if ! PATH="$$PATH:/usr/sbin:/sbin" command -v $$program >/dev/null; then \
			echo 'installing $(2)' && \
			$(AS_ROOT) apt-get update -qq && \
			$(AS_ROOT) env DEBIAN_FRONTEND=noninteractive \
				apt-get install -y -qq --no-install-recommends $(2); \
			exit; \
		fi; \
	done
endef

# A DNS server for tests, in addition to their own; no service is started.
dnsmasq:
	$(call require,dnsmasq,dnsmasq-base)

# systemd-analyze checks the units, and systemd runs as PID 1 of the namespaces that they are tested in. The host's own
# systemd is not touched.
systemd:
	$(call require,systemd-analyze,systemd)

# iprange merges lists of prefixes: `aggregate` is compared with it. Tests check that the sets of ipset are left alone.
iprange:
	$(call require,iprange ipset,iprange ipset)

# A wrong clock for one process.
faketime:
	$(call require,faketime,faketime)

# Routers and a host that speak BGP. The tests start processes of their own; the services of the packages never start.
frr:
	@if [ -d /run/systemd/system ]; then \
		[ -e /usr/lib/frr/zebra ] || $(AS_ROOT) systemctl mask --quiet frr.service; \
		[ -e /usr/sbin/bird ] || $(AS_ROOT) systemctl mask --quiet bird.service; \
	fi
	$(call require,/usr/lib/frr/zebra vtysh bird,frr bird2)

# Trees of Debian, and the check of its packages.
dist-tools:
	$(call require,debootstrap lintian,debootstrap lintian)

# Other kernels.
qemu:
	$(call require,qemu-system-x86_64 cpio zstd xz,qemu-system-x86 cpio zstd xz-utils)

# nft and ip.
system:
	$(call require,nft ip,nftables iproute2)

lint-tools:
	@$(CARGO) fmt --version >/dev/null 2>&1 && $(CARGO) clippy --version >/dev/null 2>&1 || \
		rustup component add rustfmt clippy
