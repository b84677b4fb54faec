#!/usr/bin/env bash
# version.sh TAG: sees to it that the manifests and the changelog are of the version that the tag names, and prints what the
# changelog says of it.
set -euo pipefail
cd "$(dirname "$0")/.."

tag=${1:?the tag, e.g. v0.2.0}
version=${tag#v}

# expect FILE VERSION
expect() {
    if [ "$2" != "$version" ]; then
        echo "$1 has version ${2:-none}, the tag is $tag" >&2
        exit 1
    fi
}

expect Cargo.toml "$(sed -n '0,/^version = "\(.*\)"$/s//\1/p' Cargo.toml)"
expect web/client/package.json "$(sed -n '0,/^  "version": "\(.*\)",$/s//\1/p' web/client/package.json)"

notes=$(sed -n "/^## $version\( .*\)\?\$/,/^## /{/^## /d;p}" CHANGELOG.md)
if [ -z "$notes" ]; then
    echo "CHANGELOG.md has no section ## $version" >&2
    exit 1
fi
printf '%s\n' "$notes"
