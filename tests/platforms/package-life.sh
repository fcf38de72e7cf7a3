# package-life.sh KIND OLDER NEWER: the life of a package on one host, from the first installation to the purge.
# Runs inside the trees of packages.sh; the first thing that is not as expected ends it.
kind=$1 older=$2 newer=$3

step() { echo "== $*"; }
fails() { if "$@"; then echo "this should have failed: $*"; exit 1; fi; }
says() { echo "$said" | grep -q -- "$1" || { echo "not said: $1"; exit 1; }; }
case $kind in
deb)
	install() { dpkg -i "$1"; }
	upgrade() { dpkg -i "$1"; }
	remove() { dpkg -r edgeward; }
	is_installed() { dpkg-query -W -f '${Status}' edgeward 2>/dev/null | grep -q 'ok installed'; }
	;;
rpm)
	# Debian's packages are not in the database of rpm, so /bin/sh is missing for it.
	install() { rpm --nodeps -ivh "$1"; }
	upgrade() { rpm --nodeps -Uvh --replacepkgs "$1"; }
	remove() { rpm --nodeps -e edgeward; }
	is_installed() { rpm -q edgeward; }
	;;
esac
units='edgeward-boot.service edgeward.service edgeward-refresh.service edgeward-refresh.timer'
# What the kernel has: the network that only the second policy lets in.
has_two() { nft list table inet edgeward | grep -q 203.0.113.0/24; }
has_one() { nft list table inet edgeward | grep -q 10.0.0.0/24 && ! has_two; }
within() {
	for _ in $(seq "$1"); do
		if "$2"; then return; fi
		sleep 1
	done
	echo "not within $1 s: $2"
	exit 1
}

step first installation: nothing is enabled, nothing runs, no rules
install "$older"
edgeward --version
is_installed
for unit in $units; do
	[ "$(systemctl is-enabled "$unit" 2>/dev/null)" != enabled ]
	fails systemctl --quiet is-active "$unit"
done
[ ! -e /etc/edgeward ]
[ ! -e /var/lib/edgeward ]
fails nft list table inet edgeward
for file in /usr/share/man/man1/edgeward-apply.1.gz /usr/share/bash-completion/completions/edgeward \
	/usr/share/doc/edgeward/policies/catalog/flows.yaml /usr/share/doc/edgeward/docs/operations.md; do
	[ -s $file ]
done

step rules, and the units that load them at boot
mkdir /etc/edgeward
cd /etc/edgeward
cp /packages/express-connect-flannel.yaml policy.yaml
sed '/^management:/,/^[a-z]/ s|from: \[|from: [203.0.113.0/24, |' policy.yaml >two.yaml
cp /packages/express-connect-flannel.lock.yaml policy.lock.yaml
cp policy.lock.yaml two.lock.yaml
edgeward apply policy.yaml
has_one
systemctl enable edgeward-boot.service edgeward-refresh.timer
systemctl start edgeward-boot.service edgeward-refresh.timer

step upgrade while a change waits: it is undone at its deadline
edgeward apply two.yaml --confirm-within 8s
has_two
upgrade "$newer"
has_two
edgeward status | grep -q pending
[ "$(systemctl is-enabled edgeward-boot.service)" = enabled ]
systemctl --quiet is-active edgeward-boot.service
systemctl --quiet is-active edgeward-refresh.timer
within 30 has_one
edgeward status | grep -q undone

step upgrade while a change waits: it can be confirmed by the new program
edgeward apply two.yaml --confirm-within 10m --force
upgrade "$newer"
edgeward confirm
has_two
edgeward status --check

step removal is refused where the pending change cannot be undone
edgeward apply policy.yaml --confirm-within 10m
has_one
mv /usr/bin/edgeward /usr/bin/edgeward.kept
printf '#!/bin/sh\nexit 4\n' >/usr/bin/edgeward
chmod 755 /usr/bin/edgeward
fails remove
mv /usr/bin/edgeward.kept /usr/bin/edgeward
is_installed
has_one
[ -e /usr/lib/systemd/system/edgeward-boot.service ]

step removal undoes the pending change, keeps the confirmed rules, and says so
said=$(remove 2>&1) || { echo "$said"; exit 1; }
echo "$said"
says 'generation 4 was not confirmed, and is undone'
says 'generation 3 stays in force'
says 'until the host reboots'
has_two
fails is_installed
[ ! -e /usr/bin/edgeward ]
[ ! -e /usr/lib/systemd/system/edgeward-boot.service ]
fails systemctl --quiet is-active edgeward-refresh.timer
[ -z "$(find /etc/systemd/system -name 'edgeward*')" ]
[ -z "$(systemctl list-units --all --no-legend 'edgeward*' | grep -v not-found)" ]
[ -e /var/lib/edgeward ]

step installed again, the rules are known, and loaded when they are lost
install "$newer"
edgeward status | grep -q 'generation 3 is in force'
nft delete table inet edgeward
systemctl start edgeward-boot.service
has_two

step end
case $kind in
deb)
	said=$(dpkg --purge edgeward 2>&1) || { echo "$said"; exit 1; }
	echo "$said"
	says 'nft delete table inet edgeward'
	[ ! -e /var/lib/edgeward ]
	[ ! -e /usr/share/doc/edgeward ]
	fails dpkg-query -W edgeward
	;;
rpm)
	remove
	[ -e /var/lib/edgeward ]
	;;
esac
[ -e /etc/edgeward/policy.yaml ]
has_two
