#!/bin/bash
# kernels.sh PROGRAM FOLDER: the rules on the kernel of each Debian suite, in QEMU.
#
# PROGRAM is static. Each image holds it, the policies, and of the suite the kernel's network modules, nft, ip, ipvsadm and busybox;
# tests/platforms/kernel-life.sh is its first process. With KVM where it works, otherwise emulated. Needs a
# mirror of Debian, qemu-system-x86_64 and root (for nothing but owners of files in the image).
set -euo pipefail
program=$(realpath "$1") folder=$2
suites=${SUITES:-bullseye bookworm trixie sid}
limit=${LIMIT:-900}
cd "$(dirname "$0")/../.."
mkdir -p "$folder"
folder=$(realpath "$folder")
if [ "$(uname -m)" != x86_64 ]; then
	echo "only kernels for x86-64 are tested" >&2
	exit 1
fi

# What all images have in common.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
common=$work/common
mkdir -p "$common"/{bin,sbin,dev,proc,sys,run,tmp,etc,var/lib,usr/bin,usr/sbin,lib/modules,cases}
cp "$program" "$common/usr/bin/edgeward"
cp tests/platforms/kernel-life.sh "$common/init"
chmod 755 "$common/init"
cp -r policies "$common/policies"
for policy in fixtures/cases/*/policy.yaml policies/*.yaml; do
	case $policy in *.lock.yaml) continue ;; esac
	read -ra arguments <<<"$(cat "$(dirname "$policy")/arguments" 2>/dev/null || :)"
	"$program" compile "$policy" "${arguments[@]}" -o "$common/cases/$(echo "$policy" | tr / _).nft" 2>/dev/null
done
# Answers of DNS from today.
for lockfile in "$common"/policies/*.lock.yaml; do
	sed -i "s/last-seen: [^}]*/last-seen: $(date -u +%FT%TZ)/" "$lockfile"
done
echo 'root:x:0:0:root:/:/bin/sh' >"$common/etc/passwd"

# Copies a program of a suite, and the libraries that it says it needs.
take() {
	local root=$1 file=$2 loader libraries
	loader=$(find "$root" -path '*-linux-gnu/ld-linux*' -print -quit)
	libraries=$(dirname "$loader"):$root/usr/lib/x86_64-linux-gnu
	install -D -m 755 "$root/$file" "$image/usr/sbin/$(basename "$file")"
	"$loader" --library-path "$libraries" --list "$root/$file" | grep -o "$root/[^ ]*" | while read -r library; do
		install -D -m 755 "$library" "$image/lib/x86_64-linux-gnu/$(basename "$library")"
	done
	install -D -m 755 "$loader" "$image/lib64/ld-linux-x86-64.so.2"
}

# machine SECONDS ACCELERATOR KERNEL ARGUMENT...: ends with the machine. The check of the timer fails on a busy host.
machine() {
	timeout "$1" qemu-system-x86_64 -accel "$2" -kernel "$3" "${@:4}" -m 1024 -nodefaults -no-reboot -display none \
		-serial stdio -append 'console=ttyS0 quiet no_timer_check panic=-1' </dev/null
}

failed=0
for suite in $suites; do
	tree=$folder/kernel-$suite
	if [ -z "$(find "$tree/complete" -mtime -7 2>/dev/null)" ]; then
		sh tests/platforms/suite.sh "$suite" "$tree" linux-image-amd64 nftables iproute2 ipvsadm busybox-static
		touch "$tree/complete"
	fi
	root=$tree/root
	for modules in "$root"/lib/modules/* "$root"/usr/lib/modules/*; do
		if [ -d "$modules" ]; then break; fi
	done
	release=$(basename "$modules")
	kernel=$root/boot/vmlinuz-$release
	[ -e "$kernel" ] || kernel=$modules/vmlinuz

	image=$work/$suite
	cp -a "$common" "$image"
	for name in nft ip ipvsadm; do
		take "$root" "$(cd "$root" && find . -type f -name $name -path '*bin/*' -print -quit)"
	done
	install -m 755 "$(find "$root" -type f -name busybox -path '*bin/*' -print -quit)" "$image/bin/busybox"
	ln -s busybox "$image/bin/sh"
	ln -s ../bin/busybox "$image/sbin/modprobe"
	for part in net lib crypto arch/x86/crypto drivers/net/veth drivers/net/dummy; do
		for file in "$modules/kernel/$part"*; do
			[ -e "$file" ] || continue
			mkdir -p "$image/lib/modules/$release/kernel/$(dirname "$part")"
			cp -r "$file" "$image/lib/modules/$release/kernel/$(dirname "$part")/"
		done
	done
	rm -rf "$image/lib/modules/$release"/kernel/net/{wireless,mac80211,bluetooth,sunrpc,sctp,tipc,batman-adv,ceph,rxrpc,nfc}
	cp "$modules"/modules.{builtin,order} "$image/lib/modules/$release/"
	find "$image/lib/modules" -name '*.xz' -exec xz --decompress {} +
	find "$image/lib/modules" -name '*.zst' -exec zstd --quiet --decompress --rm {} +
	"$image/bin/busybox" depmod -b "$image" "$release"
	(cd "$image" && find . | cpio --quiet --create --format=newc --owner=0:0) | gzip --fast >"$work/$suite.cpio.gz"
	rm -rf "$image"

	# That /dev/kvm can be opened does not mean that it works: a kernel without a root panics in seconds, if it runs.
	if [ -z "${accel:=${ACCEL:-}}" ]; then
		accel=tcg
		if machine 20 kvm "$kernel" >/dev/null 2>&1; then accel=kvm; fi
	fi
	begin=$SECONDS
	machine "$limit" "$accel" "$kernel" -initrd "$work/$suite.cpio.gz" >"$folder/kernel-$suite.log" 2>&1 || :
	tr -d '\r' <"$folder/kernel-$suite.log" | sed -n 's/^RESULT //p' >"$work/results"
	passed=$(grep -c ' pass' "$work/results" || :)
	if grep -q '^end pass' "$work/results" && ! grep -q ' FAIL' "$work/results"; then
		echo "| $release | $suite | $accel | $passed pass | $((SECONDS - begin)) s |"
	else
		echo "| $release | $suite | $accel | FAIL | $((SECONDS - begin)) s |"
		tail -n 30 "$folder/kernel-$suite.log" >&2
		failed=1
	fi
done
exit $failed
