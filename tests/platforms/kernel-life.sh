#!/bin/busybox sh
# The first process in the images of kernels.sh: prints RESULT WHAT pass or FAIL for each step, and turns the machine off.
/bin/busybox mkdir -p /bin /usr/bin
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ NO_COLOR=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
# This shell prefers its own programs to those in PATH.
ip() { /usr/sbin/ip "$@"; }
ip link set lo up

# Each step runs in a shell of its own, which ends at the first command that fails.
step() {
	what=$1
	shift
	if said=$(sh -ec "$functions
$*" 2>&1); then
		echo "RESULT $what pass"
	else
		echo "$said"
		echo "RESULT $what FAIL"
	fi
}
functions='
ip() { /usr/sbin/ip "$@"; }
fails() { if "$@"; then echo "this should have failed: $*"; exit 1; fi; }
has_two() { nft list table inet edgeward | grep -q 203.0.113.0/24; }
# From an address of the network beyond the link to a port of this host, and the other way.
comes_in() {
	ip -n cloud route replace 10.0.0.20/32 dev cloud0 src "$1"
	[ "$(ip netns exec cloud nc -w 2 10.0.0.20 "$2" </dev/null)" = here ]
}
goes_out() { [ "$(nc -w 2 "$1" "$2" </dev/null)" = there ]; }
'
cd /tmp
cp /policies/express-connect-flannel.yaml one.yaml
sed '/^management:/,/^[a-z]/ s|from: \[|from: [203.0.113.0/24, |' one.yaml >two.yaml
sed 's/^name:.*/&\nmode: audit/' one.yaml >audit.yaml
for name in one two audit many; do cp /policies/express-connect-flannel.lock.yaml $name.lock.yaml; done
seq 0 99999 | awk '{ printf "11.%d.%d.%d\n", int($1 / 16384), int($1 / 64) % 256, ($1 % 64) * 4 }' >list
{
	cat one.yaml
	echo '- {id: many, direction: outbound, peers-file: list, ports: [tcp/443]}'
} >many.yaml

# Without one module at a time: the message names it and no other, and nothing is changed.
modules=/lib/modules/$(uname -r)
for module in nf_tables nf_conntrack nft_ct nft_limit nft_log nf_log_syslog nf_log_ipv4 nft_counter nft_objref nft_reject_inet; do
	file=$(find "$modules" -name "$module.ko")
	if [ -z "$file" ]; then continue; fi
	mv "$file" hidden.ko
	step "without-$module" "
for option in --dry-run --force; do
	if edgeward apply one.yaml \$option --state-dir without >said 2>&1; then echo 'this should have failed'; exit 1; fi
	cat said
	[ \"\$(sed -n 's/.*\`modprobe \(-a \)*\([a-z0-9_ ]*\)\`.*/\2/p' said)\" = $module ]
done
fails nft list table inet edgeward
"
	mv hidden.ko "$file"
	# Those that were loaded for this, so that the next one is not there.
	for _ in $(seq 8); do
		lsmod | awk '$1 ~ /^nft?_/ { print $1 }' | while read -r loaded; do rmmod "$loaded" 2>/dev/null || :; done
	done
done

# Two networks with a link: this host, and everything else.
step link '
ip netns add cloud
ip link add host0 type veth peer name cloud0 netns cloud
ip addr add 10.0.0.20/8 dev host0
ip link set host0 up
ip -n cloud link set lo up
ip -n cloud link set cloud0 up
for address in 10.0.0.1/8 192.168.0.5/16 192.168.10.20/16 203.0.113.9/24 198.51.100.9/24; do
	ip -n cloud addr add $address dev cloud0
done
ip route add default via 10.0.0.1
'
for port in 22 10250; do nc -ll -p $port -e echo here </dev/null >/dev/null 2>&1 & done
for port in 443 6443 7777; do ip netns exec cloud nc -ll -p $port -e echo there </dev/null >/dev/null 2>&1 & done
sleep 1
step open-before 'comes_in 198.51.100.9 22; comes_in 192.168.0.5 10250; goes_out 192.168.10.20 6443; goes_out 192.168.10.20 7777'

ip netns add load
for ruleset in /cases/*.nft; do
	# Twice: the first time there is no table yet, the second time it is replaced.
	step "load-$(basename "$ruleset" .nft)" "ip netns exec load nft -f $ruleset; ip netns exec load nft -f $ruleset"
done

step apply 'edgeward apply one.yaml --force; edgeward diff one.yaml; edgeward status --check'
step packets '
comes_in 192.168.0.5 10250
fails comes_in 198.51.100.9 10250
comes_in 10.0.0.1 22
fails comes_in 203.0.113.9 22
goes_out 192.168.10.20 6443
fails goes_out 192.168.10.20 7777
'
step change 'edgeward apply two.yaml --force; has_two; edgeward diff two.yaml; comes_in 203.0.113.9 22; fails comes_in 198.51.100.9 22'
step again 'edgeward apply two.yaml --force | grep -q "nothing\|already\|in force"; has_two'
step notrack 'nft list table inet edgeward | grep -q notrack'
step tamper-and-heal '
nft insert rule inet edgeward input accept
comes_in 198.51.100.9 22
fails edgeward diff two.yaml
fails edgeward status --check
edgeward apply two.yaml --force
edgeward diff two.yaml
fails comes_in 198.51.100.9 22
'
step rollback 'edgeward rollback 1 --force; fails has_two; edgeward diff one.yaml'
step confirm 'edgeward apply two.yaml --force --confirm-within 5m; edgeward confirm; has_two'
step undo '
edgeward apply one.yaml --force --confirm-within 5s
fails has_two
for _ in $(seq 60); do if has_two; then break; fi; sleep 1; done
has_two
edgeward diff two.yaml
'
step boot 'nft delete table inet edgeward; edgeward boot; edgeward diff two.yaml'
step audit 'edgeward apply audit.yaml --force; comes_in 198.51.100.9 22; goes_out 192.168.10.20 7777; dmesg | grep -q "edgeward"'
step large '
ip -n cloud addr add 11.0.0.4/32 dev cloud0
ip -n cloud addr add 12.0.0.1/32 dev cloud0
edgeward apply many.yaml --force
goes_out 11.0.0.4 443
fails goes_out 12.0.0.1 443
echo 12.0.0.1 >>list
edgeward apply many.yaml --force
goes_out 12.0.0.1 443
goes_out 11.0.0.4 443
edgeward status
'
step uninstall 'edgeward uninstall --remove-rules; fails nft list table inet edgeward; comes_in 198.51.100.9 22'

# A root folder with the program and a policy, and nothing else.
step alone '
mkdir alone
cp /usr/bin/edgeward one.yaml one.lock.yaml two.yaml two.lock.yaml alone/
run() { chroot alone /edgeward "$@" --state-dir /state; }
run apply /one.yaml --force
run apply /two.yaml --force
has_two
run diff /two.yaml --against kernel
run rollback --force
fails has_two
nft delete table inet edgeward
run boot
run diff /one.yaml --against kernel
run status
run uninstall --remove-rules
'

# Services and NodePorts by IPVS. The endpoint of one is a pod, that of the other a program on the network of another host.
sed 's/^name:.*/&\nkube-proxy: {mode: ipvs, node-ports: {from: [10.0.0.1], ports: [tcp\/30080]}}/' one.yaml >ipvs.yaml
cp one.lock.yaml ipvs.lock.yaml
functions="$functions"'
node_port() {
	ip -n cloud route replace 10.0.0.20/32 dev cloud0 src "$1"
	[ "$(ip netns exec cloud nc -w 2 10.0.0.20 30080 </dev/null)" = pod ]
}
service() { [ "$(ip netns exec "$1" nc -w 2 172.21.0.10 80 </dev/null)" = there ]; }
'
step ipvs-link '
ip netns add pod
ip link add cni0 type bridge
ip addr add 172.20.1.1/24 dev cni0
ip link set cni0 up
ip link add pod0 type veth peer name eth0 netns pod
ip link set pod0 master cni0 up
ip -n pod addr add 172.20.1.5/24 dev eth0
ip -n pod link set eth0 up
ip -n pod route add default via 172.20.1.1
ip -n cloud route add 172.20.1.0/24 via 10.0.0.20
echo 1 >/proc/sys/net/ipv4/ip_forward
modprobe -a ip_vs ip_vs_rr
echo 1 >/proc/sys/net/ipv4/vs/conntrack
ip link add kube-ipvs0 type dummy
ip addr add 172.21.0.10/32 dev kube-ipvs0
ipvsadm -A -t 10.0.0.20:30080 -s rr
ipvsadm -a -t 10.0.0.20:30080 -r 172.20.1.5:80 -m
ipvsadm -A -t 172.21.0.10:80 -s rr
ipvsadm -a -t 172.21.0.10:80 -r 10.0.0.1:9100 -m
'
ip netns exec pod nc -ll -p 80 -e echo pod </dev/null >/dev/null 2>&1 &
ip netns exec cloud nc -ll -p 9100 -e echo there </dev/null >/dev/null 2>&1 &
sleep 1
step ipvs-before 'node_port 10.0.0.1; service pod'
step ipvs-undeclared 'edgeward apply one.yaml --force; fails node_port 10.0.0.1; fails service pod'
step ipvs 'edgeward apply ipvs.yaml --force; node_port 10.0.0.1; service pod; fails node_port 203.0.113.9'
step end true
poweroff -f
