#!/bin/bash
# cross.sh ARCH TARGET: a static program for another architecture, in TARGET/ARCH-unknown-linux-gnu/release.
#
# rustup's toolchain brings the standard library of the host only. Debian has both parts for aarch64: a compiler that
# links (gcc-aarch64-linux-gnu) and Rust's standard library (libstd-rust-dev:arm64). They are unpacked into a folder of
# their own, not installed; the crates are those that cargo has fetched for this host. Needs root (chroot).
#
# With a toolchain that has the target, the same is one command:
#   rustup target add aarch64-unknown-linux-gnu && RUSTFLAGS='-C target-feature=+crt-static' \
#   CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
#   cargo build --locked --release --target aarch64-unknown-linux-gnu
set -euo pipefail
arch=$1 target=$2
cd "$(dirname "$0")/../.."
if [ "$arch $(dpkg --print-architecture)" != "aarch64 amd64" ]; then
	echo "a program for $arch cannot be built here: see packaging/dist/cross.sh" >&2
	exit 1
fi
tree=$target/platforms/cross
root=$tree/root
if [ ! -e "$root/usr/lib/rustlib/aarch64-unknown-linux-gnu" ]; then
	FOREIGN=arm64 sh tests/platforms/suite.sh "${CROSS_SUITE:-sid}" "$tree" base-files coreutils dash rustc cargo gcc \
		gcc-aarch64-linux-gnu libc6-dev-arm64-cross libstd-rust-dev:arm64
fi
"${CARGO:-cargo}" fetch --locked --quiet
mkdir -p "$root/edgeward" "$root/cargo" "$root/target" "$target/cross"
flags="-C target-feature=+crt-static --remap-path-prefix=/cargo/registry=/cargo/registry"
unshare --mount sh -ec '
	mount --bind "$1" "$2/edgeward"
	mount --bind "$3" "$2/cargo"
	mount --bind "$4" "$2/target"
	mount --bind /dev "$2/dev"
	mount -t proc proc "$2/proc"
	exec chroot "$2" env -i PATH=/usr/bin HOME=/tmp LC_ALL=C CARGO_HOME=/cargo CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_TARGET_DIR=/target RUSTFLAGS="$5" \
		CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=gcc \
		CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc sh -ec "
			cd /edgeward
			cargo build --offline --locked --release --target aarch64-unknown-linux-gnu"
' sh "$PWD" "$root" "${CARGO_HOME:-$HOME/.cargo}" "$target/cross" "$flags"
mkdir -p "$target/$arch-unknown-linux-gnu/release"
cp "$target/cross/aarch64-unknown-linux-gnu/release/edgeward" "$target/$arch-unknown-linux-gnu/release/"
