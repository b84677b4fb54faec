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

# Cargo takes the pages for changes that are not committed, since version control does not hold them. There shall be no
# others.
changed=$(git status --porcelain)
if [ -n "$changed" ]; then
    printf 'Not committed:\n%s\n' "$changed" >&2
    exit 1
fi

# Cargo builds what it has packed. If the sources in there are not all that the pages are built from, the build script
# says that web/prebuilt does not fit them.
said=$(mktemp)
trap 'rm -f "$said"' EXIT
cargo package --locked --allow-dirty "$@" 2>&1 | tee "$said"
if grep -q "made from other sources" "$said"; then
    echo "The package lacks sources of the pages: see \`include\` in Cargo.toml." >&2
    exit 1
fi
