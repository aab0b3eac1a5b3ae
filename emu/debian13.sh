#!/usr/bin/env bash
# Unpacks packages of Debian 13 into FOLDER/tree, without installing them:
#
#   debian13.sh FOLDER PACKAGE...
set -euo pipefail
root=$(realpath -m "${1:?a folder}")
shift

# apt with lists of its own: this system's sources stay as they are. The mirror is the one that they name.
rm -rf "$root"
mkdir -p "$root"/apt/{lists/partial,cache/archives/partial,parts} "$root/tree"
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Label: Debian' | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$root/apt/sources"
apt=(-qq -o APT::Architectures=amd64 -o APT::Sandbox::User=root -o Acquire::Languages=none
  -o Dir::Etc::SourceList="$root/apt/sources" -o Dir::Etc::SourceParts="$root/apt/parts"
  -o Dir::State::Lists="$root/apt/lists" -o Dir::Cache="$root/apt/cache")
apt-get "${apt[@]}" update
(cd "$root/apt" && apt-get "${apt[@]}" download "$@")
for deb in "$root"/apt/*.deb; do dpkg -x "$deb" "$root/tree"; done
rm -r "$root/apt"
