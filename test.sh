#!/usr/bin/env bash
# Installs what the tests need and is missing, then runs all checks and tests. See --help.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
    cat <<'EOF'
Usage: ./test.sh [--long] [--no-install] [--without-netns]

Runs every check and test of the project: formatting, lints, documentation, tests of the server, of the browser client
and of the pages, and tests with real browsers, coturn, other people's TURN clients, and nginx, HAProxy and Caddy. What
these need is installed first where it is missing (on Debian, by apt-get; with sudo if you are not root). Where the
system's Node.js is too old to build the pages, a newer one is put below target/, as are Python's packages. Some tests
make network namespaces, which takes root with CAP_NET_ADMIN; where that is not to be had they fail, unless they are left
out.

  --long           also the tests that take minutes
  --no-install     install nothing on the system; tests that lack a program are skipped, and without Node.js 20.19 or
                   newer the pages cannot be built, which fails
  --without-netns  skip the tests that need network namespaces
  --help           this text

The last line says how many steps passed and failed; the exit code is 1 if any failed.
EOF
}

long=0
install=1
netns=required
for argument in "$@"; do
    case $argument in
        --long) long=1 ;;
        --no-install) install=0 ;;
        --without-netns) netns=skip ;;
        --help | -h) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
done

# Tests that can take longer look at it.
export BIMCC_RTC_LONG=$long
# So do those that make network namespaces: they fail where they cannot, or are skipped. Without it they try.
export BIMCC_RTC_NETNS=$netns

# ---- What is needed ----------------------------------------------------------------------------------------------

have() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ]; }

# Debian packages of the programs that are missing.
missing_packages() {
    have cc || echo build-essential
    have node || echo nodejs
    have npm || echo npm
    have ip || echo iproute2
    have nft || echo nftables
    have certutil || echo libnss3-tools
    have turnutils_uclient || echo coturn
    have nginx || echo nginx
    [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || echo libnginx-mod-stream
    have haproxy || echo haproxy
    have caddy || echo caddy
    # Other people's TURN clients, and what their Python takes.
    [ -e /usr/include/re/re.h ] || echo libre-dev
    /usr/bin/python3 -c 'import gi; gi.require_version("Nice", "0.1")' 2>/dev/null ||
        printf '%s\n' python3-gi gir1.2-nice-0.1
    /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
    if [ "$long" = 1 ]; then
        have go || echo golang-go
        [ -e /usr/share/gocode/src/github.com/pion/turn/v2 ] || echo golang-github-pion-turn.v2-dev
    fi
    have chromium || have chromium-browser || have google-chrome || [ -n "${CHROMIUM_PATH:-}" ] || echo chromium
    have firefox-esr || have firefox || [ -n "${FIREFOX_PATH:-}" ] || echo firefox-esr
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
    local packages
    mapfile -t packages < <(missing_packages)
    [ ${#packages[@]} -gt 0 ] || return 0
    local problem=
    if [ "$install" = 0 ]; then
        problem="--no-install was given"
    elif ! grep -qx 'ID=debian' /etc/os-release 2>/dev/null; then
        problem="this is not Debian, whose package names these are"
    elif [ "$(id -u)" != 0 ] && ! have sudo; then
        problem="that takes root or sudo"
    fi
    if [ -n "$problem" ]; then
        printf '\nNot installed: %s (%s). Install them by hand;\n' "${packages[*]}" "$problem"
        printf 'tests that need them are skipped. CHROMIUM_PATH and FIREFOX_PATH name browsers in other places.\n'
        return 0
    fi
    echo "Installing: ${packages[*]}"
    as_root apt-get update -qq
    # Only the programs are wanted: their services must neither start now nor at the next boot.
    local guard= package services=()
    for package in "${packages[@]}"; do
        case $package in
            coturn | nginx | haproxy | caddy) services+=("$package.service") ;;
        esac
    done
    if [ ${#services[@]} -gt 0 ] && [ ! -e /usr/sbin/policy-rc.d ]; then
        guard=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' | as_root tee $guard >/dev/null
        as_root chmod 755 $guard
    fi
    local outcome=0
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" ||
        outcome=$?
    [ -z "$guard" ] || as_root rm -f $guard
    if [ ${#services[@]} -gt 0 ] && have systemctl; then
        as_root systemctl disable --quiet "${services[@]}" 2>/dev/null || true
    fi
    return $outcome
}

rust_tools() {
    if ! have cargo; then
        echo "cargo is missing: install Rust from https://rustup.rs" >&2
        return 1
    fi
    local component
    for component in rustfmt clippy; do
        cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component"
    done
}

# Vite's least versions.
node_is_new_enough() {
    have node && node -e '
        const [major, minor] = process.versions.node.split(".").map(Number);
        process.exit((major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major > 22 ? 0 : 1);
    '
}

# Sees to a Node.js that can build the pages; Debian's may be older.
node_js() {
    local tools=$PWD/target/node architecture
    if ! node_is_new_enough && [ -x "$tools/bin/node" ]; then
        PATH=$tools/bin:$PATH
    fi
    if node_is_new_enough && have npm; then
        echo "Node.js $(node --version)"
        return 0
    fi
    case $(uname -m) in
        x86_64) architecture=x64 ;;
        aarch64) architecture=arm64 ;;
        *) architecture= ;;
    esac
    if [ "$install" = 0 ] || [ -z "$architecture" ] || ! have npm; then
        echo "Node.js 20.19 or newer (22: 22.12) and npm are needed; there is: $(node --version 2>&1). Install them." >&2
        return 1
    fi
    # The packages that hold the official builds, so that no other host than npm's registry is needed.
    echo "Node.js $(node --version 2>/dev/null) is too old to build the pages: putting a newer one into target/node"
    mkdir -p "$tools/bin"
    npm install --prefix "$tools" --no-save --ignore-scripts --no-audit --no-fund \
        "node-linux-$architecture@22" npm@10 || return
    ln -sf "$tools/node_modules/node-linux-$architecture/bin/node" "$tools/node_modules/.bin/npm" \
        "$tools/node_modules/.bin/npx" "$tools/bin/"
    PATH=$tools/bin:$PATH
    hash -r
    node_is_new_enough
}

# The locked packages of a directory, unless they are there.
npm_ci() {
    if cmp -s "$1/package-lock.json" "$1/node_modules/.test-sh-lock"; then
        echo "$1: up to date"
        return 0
    fi
    (cd "$1" && PUPPETEER_SKIP_DOWNLOAD=1 npm ci --ignore-scripts --no-audit --no-fund) || return
    cp "$1/package-lock.json" "$1/node_modules/.test-sh-lock"
}

node_packages() { npm_ci web && npm_ci web/lint && npm_ci tests/browser && npm_ci tests/foreign; }

# The locked packages of tests/foreign, in a Python of their own, unless they are there.
python_packages() {
    local python=target/foreign/python wanted=tests/foreign/requirements.txt
    if cmp -s $wanted $python/.test-sh-lock; then
        echo "$python: up to date"
        return 0
    fi
    if ! /usr/bin/python3 -c 'import ensurepip' 2>/dev/null; then
        echo "SKIPPED: Python's venv is not installed, so tests of Python's TURN clients are skipped"
        return 0
    fi
    /usr/bin/python3 -m venv --clear $python &&
        $python/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $wanted &&
        cp $wanted $python/.test-sh-lock
}

# ---- Steps -------------------------------------------------------------------------------------------------------

names=() outcomes=() durations=()

# Runs one step and goes on whatever comes of it, so that one run shows all that is wrong.
step() {
    local name=$1 outcome=passed start=$SECONDS
    shift
    printf '\n==> %s\n' "$name"
    "$@" || outcome=FAILED
    names+=("$name") outcomes+=("$outcome") durations+=($((SECONDS - start)))
    printf '<== %s: %s, %d s\n' "$name" "$outcome" "${durations[-1]}"
}

web_lints() { (cd web && npx --no-install biome check . && npm run --silent apis); }

web_types() { (cd web && npm run --silent types --workspaces); }

web_tests() { (cd web && npx --no-install vitest run); }

# The browser tests' own pages import the client from web/client/dist.
web_client() { (cd web && npm run --silent build --workspace client); }

documentation() { RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --features internals; }

rust_tests() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --no-fail-fast
    else
        cargo test --locked --no-fail-fast --all-targets
    fi
}

# A server without pages needs no Node.js, and is what docs.rs and the fuzz targets build.
without_pages() {
    cargo clippy --locked --no-default-features --all-targets -- -D warnings &&
        cargo test --locked --no-default-features --test http
}

documentation_tests() { cargo test --locked --doc; }

browser_tests() {
    local target
    target=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
    # One at a time: two browsers and a server are enough for a small machine.
    BIMCC_RTC_BINARY="$target/debug/bimcc-rtc" \
        node --test --test-concurrency=1 --test-reporter=spec tests/browser/*.test.mjs
}

step "system packages" install_packages
step "Rust tools" rust_tools
step "Node.js" node_js
step "Node packages" node_packages
step "Python packages" python_packages
step "format" cargo fmt --check
step "web format and lints" web_lints
step "web types" web_types
step "web unit tests" web_tests
step "web client" web_client
step "lints" cargo clippy --locked --all-targets -- -D warnings
step "documentation" documentation
# Before the build, because it leaves its own binary where the browser tests look for one.
step "without pages" without_pages
step "build" cargo build --locked
step "Rust tests" rust_tests
step "documentation tests" documentation_tests
step "browsers and coturn's tools" browser_tests
[ "$long" = 0 ] || step "fuzz targets" cargo check --manifest-path fuzz/Cargo.toml

printf '\n'
passed=0 failed=0
for i in "${!names[@]}"; do
    printf '%-30s %-6s %4d s\n' "${names[i]}" "${outcomes[i]}" "${durations[i]}"
    if [ "${outcomes[i]}" = passed ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
[ "$netns" = required ] || echo "SKIPPED: all tests that need network namespaces (--without-netns)"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
