#!/bin/bash
# nft.sh PROGRAM FOLDER: every ruleset of the repository with the nft of each Debian suite, and the verbs with it.
#
# Needs root and a mirror of Debian. All rules are loaded into network namespaces; FOLDER keeps the unpacked packages
# for the next run. One line for each version on standard output: the rows of docs/platforms.md.
set -euo pipefail
program=$(realpath "$1") folder=$2
suites=${SUITES:-bullseye bookworm trixie sid}
cd "$(dirname "$0")/../.."
mkdir -p "$folder"
chmod 755 "$folder"
folder=$(realpath "$folder")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export NO_COLOR=1

failed=0
fail() {
	echo "nft $version ($suite): $1" >&2
	sed 's/^/    /' "$work/said" | head -n 20 >&2
	failed=1
}

# The rulesets as text and as JSON, once for all versions: NAME.nft, NAME.json, NAME.policy, NAME.arguments.
count=0
for policy in fixtures/cases/*/policy.yaml policies/*.yaml; do
	case $policy in *.lock.yaml) continue ;; esac
	name=$(echo "$policy" | tr / _)
	arguments=$(dirname "$policy")/arguments
	echo "$policy $(cat "$arguments" 2>/dev/null || :)" >"$work/$name.arguments"
	read -ra arguments <"$work/$name.arguments"
	"$program" compile "${arguments[@]}" -o "$work/$name.nft" 2>/dev/null
	"$program" compile "${arguments[@]}" --format json -o "$work/$name.json" 2>/dev/null
	count=$((count + 1))
done

# What is in a namespace of its own is gone when its shell ends.
alone() { unshare --net --mount sh -ec "ip link set lo up; mount -t tmpfs tmpfs /run; $1" sh "${@:2}" >"$work/said" 2>&1; }

verbs() {
	# A policy, the same with another network that may log in, and answers of DNS from today.
	local folder=$work/verbs.$suite
	mkdir "$folder"
	cp policies/express-connect-flannel.yaml "$folder/one.yaml"
	sed '/^management:/,/^[a-z]/ s|from: \[|from: [203.0.113.0/24, |' "$folder/one.yaml" >"$folder/two.yaml"
	! cmp -s "$folder/one.yaml" "$folder/two.yaml" || return 1
	sed "s/last-seen: [^}]*/last-seen: $(date -u +%FT%TZ)/" policies/express-connect-flannel.lock.yaml |
		tee "$folder/one.lock.yaml" >"$folder/two.lock.yaml"
	alone '
		program=$1
		cd "$2"
		with() { verb=$1; shift; echo "== $verb $*"; "$program" "$verb" --state-dir state "$@"; }
		fails() { if with "$@"; then exit 1; fi; }
		with apply one.yaml
		with diff one.yaml
		with status --check
		with apply two.yaml --confirm-within 1m
		with confirm
		with diff two.yaml
		fails diff one.yaml
		nft insert rule inet edgeward output accept
		fails diff two.yaml
		fails status --check
		with apply two.yaml
		with status --check
		with rollback
		with diff one.yaml
		nft delete table inet edgeward
		with boot
		with diff one.yaml
		with uninstall --remove-rules
		if nft list table inet edgeward; then exit 1; fi
	' "$program" "$folder"
}

for suite in $suites; do
	# Packages of suites that still change are fetched again once a week.
	if [ -z "$(find "$folder/$suite/nft" -mtime -7 2>/dev/null)" ]; then
		sh tests/platforms/suite.sh "$suite" "$folder/$suite" nftables
		# With its own C library, and in this file system, so that it reads our files.
		root=$folder/$suite/root
		loader=$(find "$root" -path '*-linux-gnu/ld-linux*' -print -quit)
		mkdir -p "$folder/$suite/bin"
		cat >"$folder/$suite/bin/nft" <<-END
			#!/bin/sh
			exec $loader --library-path $(dirname "$loader"):$root/usr/lib/$(basename "$(dirname "$loader")") $root/usr/sbin/nft "\$@"
		END
		chmod 755 "$folder/$suite" "$folder/$suite/bin" "$folder/$suite/bin/nft"
		ln -sf bin/nft "$folder/$suite/nft"
	fi
	version=$(PATH="$folder/$suite/bin" nft --version | sed 's/^nftables v\([^ ]*\).*/\1/')
	export PATH="$folder/$suite/bin:${plain:=$PATH}"
	text=0 json=0 listed=0
	for arguments in "$work"/*.arguments; do
		name=${arguments%.arguments}
		read -ra policy <"$arguments"
		if alone 'nft -c -f "$1" && nft -f "$1" && nft -f "$1" && nft -s list table inet edgeward >"$2"' \
			"$name.nft" "$work/listed.nft"; then
			text=$((text + 1))
			if "$program" diff "${policy[@]}" --against "$work/listed.nft" >"$work/said" 2>&1; then
				listed=$((listed + 1))
			else
				fail "${policy[0]}: what nft lists is read as another ruleset"
			fi
		else
			fail "${policy[0]}: the text does not load"
		fi
		if alone 'nft -j -f "$1"; shift; "$@" --against kernel' "$name.json" "$program" diff "${policy[@]}"; then
			json=$((json + 1))
		else
			fail "${policy[0]}: the JSON does not load"
		fi
	done
	result=pass
	verbs || { result=FAIL; fail "a verb failed"; }
	echo "| $version | $suite | $text of $count | $listed of $count | $json of $count | $result |"
	PATH=$plain
done
exit $failed
