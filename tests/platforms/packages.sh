#!/bin/bash
# packages.sh OLDER NEWER FOLDER: installs, upgrades, removes and purges the packages under systemd, in trees of Debian.
#
# OLDER and NEWER are folders of `make dist`. Needs root, debootstrap and a mirror of Debian; FOLDER keeps the trees for
# the next run. systemd is PID 1 of namespaces of its own, on an overlay of the tree, without a network; the systemd and
# the rules of this host are not touched. The .rpm runs in the tree of Debian 13, which is no home for it, but has rpm.
set -euo pipefail

if [ "$1" = boot ]; then
	# PID 1 of the new namespaces: lays out the files, and becomes systemd.
	tree=$2 folder=$3
	mount --make-rprivate /
	mount -t cgroup2 cgroup2 "$folder/cgroup"
	mount -t tmpfs -o mode=755 tmpfs "$folder/changes"
	mkdir "$folder/changes/upper" "$folder/changes/work"
	root=$folder/root
	mount -t overlay -o "lowerdir=$tree,upperdir=$folder/changes/upper,workdir=$folder/changes/work" overlay "$root"
	cd "$root"
	mkdir -p packages old
	mount --bind "$folder/packages" packages
	mount -t tmpfs -o mode=755 tmpfs run
	mount -t tmpfs -o mode=1777 tmpfs tmp
	mount -t tmpfs -o mode=755 tmpfs dev
	mkdir dev/pts dev/shm
	mknod -m 666 dev/null c 1 3
	mknod -m 666 dev/zero c 1 5
	mknod -m 666 dev/full c 1 7
	mknod -m 666 dev/random c 1 8
	mknod -m 666 dev/urandom c 1 9
	mknod -m 666 dev/tty c 5 0
	ln -s null dev/console
	ln -s pts/ptmx dev/ptmx
	ln -s /proc/self/fd dev/fd
	mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
	mount -t tmpfs -o mode=1777 tmpfs dev/shm
	# What belongs to the whole machine is read-only: sysctls but those of this network namespace, SysRq, sysfs.
	mount -t proc proc proc
	mount --bind proc/sys/net proc/sys/net
	mount --rbind proc/sys proc/sys
	mount -o remount,bind,ro proc/sys
	if [ -e proc/sysrq-trigger ]; then mount --bind dev/null proc/sysrq-trigger; fi
	mount -t sysfs -o ro sysfs sys
	mount --move "$folder/cgroup" sys/fs/cgroup
	echo machine >etc/hostname
	echo ed6e0000000040008000000000000001 >etc/machine-id
	pivot_root . old
	umount -l /old
	exec env -i container=edgeward-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		setpriv --bounding-set=-audit_control,-sys_module,-sys_rawio,-sys_time,-syslog \
		/lib/systemd/systemd --unit=multi-user.target --log-target=journal --show-status=no
fi

older=$(realpath "$1") newer=$(realpath "$2") trees=$3
suites=${SUITES:-bullseye bookworm trixie}
cd "$(dirname "$0")/../.."
script=$(realpath "$0" 2>/dev/null || realpath tests/platforms/packages.sh)
mkdir -p "$trees"
trees=$(realpath "$trees")
case $(uname -m) in
x86_64) deb=amd64 rpm=x86_64 ;;
*) deb=arm64 rpm=aarch64 ;;
esac

mirror=${MIRROR:-$(apt-get indextargets 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' --format '$(REPO_URI)' |
	head -n 1)}
for suite in $suites; do
	[ -e "$trees/$suite.tree/complete" ] && continue
	rm -rf "$trees/$suite.tree"
	# rpm is only there for the .rpm.
	debootstrap --variant=minbase --include=systemd,systemd-sysv,nftables,procps,rpm "$suite" "$trees/$suite.tree" \
		"$mirror" >"$trees/$suite.log" 2>&1 || { tail -n 5 "$trees/$suite.log" >&2; exit 1; }
	touch "$trees/$suite.tree/complete"
done

work=$(mktemp -d)
cgroup=
machine=
off() {
	if [ -n "$machine" ]; then
		kill -KILL "$machine" 2>/dev/null || :
		wait "$machine" 2>/dev/null || :
		machine=
	fi
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		[ -d "$cgroup" ] || break
		find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null && break
		sleep 0.1
	done
}
trap 'off; umount "$work/cgroups" 2>/dev/null; rm -rf "$work"' EXIT
mkdir "$work/cgroups"
mount -t cgroup2 cgroup2 "$work/cgroups"

# Boots a tree, and waits until systemd has started everything.
on() {
	local folder
	folder=$(mktemp -d "$work/machine.XXXX")
	mkdir "$folder/root" "$folder/changes" "$folder/cgroup" "$folder/packages"
	cp "$older"/*.deb "$older"/*.rpm "$folder/packages/"
	cp "$newer"/*.deb "$newer"/*.rpm "$folder/packages/"
	cp tests/platforms/package-life.sh policies/express-connect-flannel.yaml "$folder/packages/"
	# Answers of DNS from today.
	sed "s/last-seen: [^}]*/last-seen: $(date -u +%FT%TZ)/" policies/express-connect-flannel.lock.yaml \
		>"$folder/packages/express-connect-flannel.lock.yaml"
	cgroup=$work/cgroups/edgeward-packages-$$
	mkdir "$cgroup"
	(
		echo 0 >"$cgroup/cgroup.procs"
		exec unshare --cgroup --ipc --mount --net --pid --uts --fork --kill-child \
			bash "$script" boot "$trees/$1.tree" "$folder" </dev/null >"$folder/console" 2>&1
	) &
	machine=$!
	for _ in $(seq 100); do
		sleep 0.1
		pid=$(pgrep -P "$machine" -x systemd || :)
		[ -n "$pid" ] || continue
		case $(inside systemctl is-system-running 2>/dev/null || :) in
		running | degraded) return ;;
		esac
	done
	echo "systemd of $1 does not come up:" >&2
	cat "$folder/console" >&2
	return 1
}

inside() {
	timeout 120 nsenter --target "$pid" --all env -i HOME=/root NO_COLOR=1 \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

failed=0
row() {
	local suite=$1 kind=$2 old=$3 new=$4 begin=$SECONDS said=$work/said
	on "$suite"
	local version
	version=$(inside systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
	if inside sh -e /packages/package-life.sh "$kind" "/packages/$old" "/packages/$new" >"$said" 2>&1; then
		echo "| .$kind | $suite | $version | pass | $((SECONDS - begin)) s |"
	else
		echo "| .$kind | $suite | $version | FAIL | |"
		sed 's/^/    /' "$said" | tail -n 40 >&2
		failed=1
	fi
	off
}

one() { (cd "$1" && echo *"$2"); }
for suite in $suites; do
	row "$suite" deb "$(one "$older" "_$deb.deb")" "$(one "$newer" "_$deb.deb")"
done
case $suites in
*trixie*) row trixie rpm "$(one "$older" ".$rpm.rpm")" "$(one "$newer" ".$rpm.rpm")" ;;
esac
exit $failed
