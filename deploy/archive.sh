#!/usr/bin/env bash
# Makes target/packages/bimcc-rtc-VERSION-ARCHITECTURE-linux.tar.gz: the program, built for this machine's architecture,
# and what belongs beside it. It needs the C library of the machine that it is built on, or a newer one.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(cargo pkgid --locked | sed 's/.*[#@]//')
name=bimcc-rtc-$version-$(uname -m)-linux
built=$(cargo build --locked --release --message-format=json |
    sed -n 's/.*"reason":"compiler-artifact".*"executable":"\([^"]*\/bimcc-rtc\)".*/\1/p')

rm -rf "target/packages/$name"
mkdir -p "target/packages/$name"
cp "$built" LICENSE README.md CHANGELOG.md deploy/bimcc-rtc.service "target/packages/$name/"
cp -r docs "target/packages/$name/"
# The same files make the same archive, whoever packs them, whenever.
tar -C target/packages --sort=name --owner=0 --group=0 --numeric-owner --mtime="@${SOURCE_DATE_EPOCH:-0}" \
    --mode=u+rwX,go+rX,go-w -c "$name" | gzip -9n >"target/packages/$name.tar.gz"
rm -r "target/packages/$name"
echo "target/packages/$name.tar.gz"
