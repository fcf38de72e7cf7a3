# Tries what a firewall has no business with, and says what is permitted.
try() {
	if "$@" >/dev/null 2>&1; then echo "permitted: $*"; fi
}

try touch /etc/forbidden
try touch /var/forbidden
try touch /root/forbidden
try mknod /run/forbidden c 1 3
try chown nobody /var/lib/edgeward
try setpriv --reuid=nobody true
try chroot / true
try chrt --batch 0 true
try mount -t tmpfs tmpfs /srv
try unshare --net true
try hostname machine
try dd if=/dev/null of=/proc/sys/net/ipv4/ip_forward
try test -e /proc/1
try chmod u+s /var/lib/edgeward
try bash -c 'exec 3<>/dev/udp/127.0.0.1/9'
