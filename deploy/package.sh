#!/usr/bin/env bash
# Makes the crate's release package with built pages in it (web/prebuilt), so that whoever builds it needs no Node.js.
# Arguments go to `cargo package`.
set -euo pipefail
cd "$(dirname "$0")/.."

# From the sources alone: an older web/prebuilt must not end up in the new package.
rm -rf web/prebuilt
# Cargo says where the build script has put the pages.
out=$(cargo build --locked --release --message-format=json |
    sed -n 's/.*"reason":"build-script-executed","package_id":"[^"]*bimcc-rtc[#@][^"]*".*"out_dir":"\([^"]*\)".*/\1/p')
cp -r "$out/pages" web/prebuilt
echo "web/prebuilt: $(wc -l <web/prebuilt/MANIFEST) lines in its MANIFEST"

# Cargo builds what it has packed. If the sources in there are not all that the pages are built from, the build script
# says that web/prebuilt does not fit them.
if cargo package --locked "$@" 2>&1 | tee /dev/stderr | grep -q "made from other sources"; then
    echo "The package lacks sources of the pages: see \`include\` in Cargo.toml." >&2
    exit 1
fi
