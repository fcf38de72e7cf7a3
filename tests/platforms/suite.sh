#!/bin/sh
# suite.sh SUITE FOLDER PACKAGE...: unpacks packages of a Debian suite, with what they depend on, into FOLDER.
#
# The packages come from the mirror that this host's apt uses (or MIRROR), and apt checks their signatures. The host's
# packages are not touched, and nothing of the unpacked ones is run. FOREIGN=arm64 is an architecture of PACKAGE:arm64.
set -eu
suite=$1 folder=$2
shift 2

mirror=${MIRROR:-$(apt-get indextargets 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' --format '$(REPO_URI)' |
	head -n 1)}
if [ -z "$mirror" ]; then
	echo "apt knows no mirror of Debian: run 'apt-get update', or set MIRROR" >&2
	exit 1
fi
keys=/usr/share/keyrings/debian-archive-keyring.gpg
arch=$(dpkg --print-architecture)
rm -rf "$folder"
mkdir -p "$folder/root"
folder=$(cd "$folder" && pwd)
apt=$folder/apt
mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/etc"
: >"$apt/state/status"
echo "deb [signed-by=$keys arch=$arch${FOREIGN:+,$FOREIGN}] $mirror $suite main" >"$apt/etc/sources.list"
# A mirror that is not up to date is good enough: a signature does not expire. No hooks and no sources of this host; nothing is installed, so everything that is needed is fetched.
cat >"$apt/apt.conf" <<END
Dir::State "$apt/state";
Dir::State::status "$apt/state/status";
Dir::Cache "$apt/cache";
Dir::Etc "$apt/etc";
APT::Architecture "$arch";
APT::Architectures { "$arch"; ${FOREIGN:+"\"$FOREIGN\";"} }
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
END
export APT_CONFIG="$apt/apt.conf"
{
	apt-get -qq update
	apt-get -qq -y --download-only install "$@"
} 2>&1 | grep -v 'DirectoryExists' >"$apt/log" || :
if ! ls "$apt"/cache/archives/*.deb >/dev/null 2>&1; then
	cat "$apt/log" >&2
	exit 1
fi
for package in "$apt"/cache/archives/*.deb; do
	dpkg-deb --extract "$package" "$folder/root"
done
