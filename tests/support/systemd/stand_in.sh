#!/bin/sh
# Stands in for the verbs that units start, and does at each start what they do at one time or another: to files, the
# kernel and DNS, with other verbs of the program and with nft. What fails is the last line that the journal has.
set -eux

verb=$1
for policy; do :; done # the last argument
program=/usr/local/libexec/edgeward
state=/var/lib/edgeward
net=/proc/thread-self/net

# Connections, and others' rules.
cat $net/tcp $net/tcp6 $net/udp $net/udp6 >/dev/null
for optional in nf_conntrack ip_tables_names ip6_tables_names; do
	if [ -e $net/$optional ]; then cat $net/$optional >/dev/null; fi
done
cat /proc/self/stat /proc/self/environ /proc/sys/kernel/random/boot_id >/dev/null
ls /etc/systemd/system /run/systemd/system /usr/lib/systemd/system >/dev/null

# The folder of generations, with its lock; files are written beside their place, synced and renamed.
exec 8>>$state/lock
flock 8
[ "$(stat --format=%a $state)" = 700 ]
mkdir -p $state/generations/1
echo '{}' >$state/.new
sync $state/.new
chmod 644 $state/.new
mv $state/.new $state/probe

# A batch that does not fit into a socket's usual buffer; nor into the trace.
set +x
printf 'table inet edgeward-probe {\n set s {\n type mark\n elements = { %s }\n }\n}\n' "$(seq --separator=, 20000)" |
	nft -f -
set -x
nft delete table inet edgeward-probe
nft -j list tables >/dev/null
setsid true
timeout 5 true

case $verb in
boot)
	if [ -e $state/ruleset.nft ]; then nft -f $state/ruleset.nft; fi
	;;
apply | refresh)
	name=${policy##*/}
	exec 9>>"${policy%/*}/.${name%.yaml}.lock.yaml.lock"
	flock 9
	exec 9>&-
	$program resolve "$policy"
	$program compile -o $state/ruleset.new "$policy"
	nft -f $state/ruleset.new
	$program diff --against kernel "$policy"
	mv $state/ruleset.new $state/ruleset.nft
	;;
esac
