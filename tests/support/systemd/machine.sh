# Runs systemd as PID 1 of namespaces of its own. Three stages, each started by the one above it:
#
#   supervise   outside: makes a cgroup, starts the rest, and takes everything away when its standard input ends
#   enter       PID 1 already, still with the files of this machine: enters the cgroup
#   boot        lays out the files, and becomes systemd
#
# $2 is the folder of the machine: cgroup/ (a place to mount), root/ (another), files/{etc,var,local,units}.
set -eu

stage=$1 folder=$2

case $stage in
supervise)
	# Mounted again, so that it does not matter where this machine has its own: the mount goes with this process.
	mount -t cgroup2 cgroup2 "$folder/cgroup"
	cgroup=$folder/cgroup/edgeward-test-$$
	mkdir "$cgroup"
	exec 3<&0
	unshare --ipc --mount --net --pid --uts --fork --kill-child \
		sh "$0" enter "$folder" "$cgroup" </dev/null >"$folder/console" 2>&1 3<&- &
	machine=$!
	# Reads until the test lets go of the pipe, in whatever way it ends.
	{
		read -r _ <&3 || :
		kill -KILL "$(cat "$folder/pid")" || kill -KILL $machine
	} &
	reader=$!
	# When PID 1 is gone, so is all that was below it: the kernel does not let it go before.
	wait $machine || :
	kill $reader || :
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		find "$cgroup" -depth -type d -exec rmdir {} + && exit
		sleep 0.1
	done
	exit 1
	;;
enter)
	echo 0 >"$3/cgroup.procs"
	exec unshare --cgroup sh "$0" boot "$folder"
	;;
boot)
	mount --make-rprivate /
	# This /proc is still the one of the machine outside, and shows what number this process has there.
	read -r pid _ </proc/self/stat

	root=$folder/root
	mount -t tmpfs -o mode=755 tmpfs "$root"
	cd "$root"
	mkdir dev etc home old proc root run srv sys tmp usr var
	for name in bin lib lib32 lib64 libx32 sbin; do
		if [ -L "/$name" ]; then cp -P "/$name" .; fi
	done
	mount --bind /usr usr
	mount -o remount,bind,ro usr
	mount --bind "$folder/files/local" usr/local
	mount --bind "$folder/files/units" usr/lib/systemd/system
	mount -t tmpfs -o mode=755 tmpfs usr/lib/systemd/system-generators
	mount --bind "$folder/files/etc" etc
	mount --bind "$folder/files/var" var
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

	# What belongs to the whole machine outside is read-only: sysctls but those of this network namespace, SysRq, sysfs.
	mount -t proc proc proc
	mount --bind proc/sys/net proc/sys/net
	mount --rbind proc/sys proc/sys
	mount -o remount,bind,ro proc/sys
	if [ -e proc/sysrq-trigger ]; then mount --bind dev/null proc/sysrq-trigger; fi
	mount -t sysfs -o ro sysfs sys
	mount -t cgroup2 cgroup2 sys/fs/cgroup

	hostname machine
	echo "$pid" >"$folder/pid.new"
	mv "$folder/pid.new" "$folder/pid"
	pivot_root . old
	umount -l /old
	rmdir /old
	# `container` keeps systemd away from hardware, modules and the clock; the capabilities make sure of it.
	exec env -i container=edgeward-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		setpriv --bounding-set=-audit_control,-sys_module,-sys_rawio,-sys_time,-syslog \
		/usr/lib/systemd/systemd --unit=multi-user.target --log-target=journal --show-status=no
	;;
esac
