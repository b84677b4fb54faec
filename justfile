# A name for each thing that is done in this repository. Checks and tests are steps of test.sh, which has the one list of
# what they do and need; flags of test.sh may follow: `just test-rust --without-netns`.

# Where test.sh puts a Node.js that can build the pages, if the system's cannot.
export PATH := justfile_directory() / "target/node/bin:" + env_var("PATH")

# What can be done
default:
    @just --list --unsorted

# Install what the tests need and is missing
setup *flags: (step "setup" flags)

# Serve; flags of bimcc-rtc may follow
run *flags:
    cargo run -- {{flags}}

# All checks and tests; --long: also those that take minutes
test *flags: (step flags)

# format, lint-scripts, lint-web, types-web, clippy
lint *flags: (step "lint" flags)

# Formatting of the Rust code
format *flags: (step "format" flags)

# Shell scripts
lint-scripts *flags: (step "lint-scripts" flags)

# Formatting and lints of web/
lint-web *flags: (step "lint-web" flags)

# Types of web/
types-web *flags: (step "types-web" flags)

# Unit tests of the browser client and of the pages
test-web *flags: (step "test-web" flags)

# The built client
client *flags: (step "client" flags)

# Lints of the Rust code
clippy *flags: (step "clippy" flags)

# The crate's documentation
docs *flags: (step "docs" flags)

# Licenses, sources and advisories of the crates
deny *flags: (step "deny" flags)

# The server without pages
without-pages *flags: (step "without-pages" flags)

# The server with its pages
build *flags: (step "build" flags)

# Tests of the server
test-rust *flags: (step "test-rust" flags)

# Tests in the documentation
test-docs *flags: (step "test-docs" flags)

# Tests with real browsers and coturn's tools
browsers *flags: (step "browsers" flags)

# Whether the fuzz targets compile
fuzz *flags: (step "fuzz" flags)

# Instructions of the relay's core, beside those it took
instructions *flags: (step "instructions" flags)

# The crate, with its pages in it
package *flags: (step "package" flags)

# The browser client for npm
package-npm *flags: (step "package-npm" flags)

# The program for who does not build it
archive *flags: (step "archive" flags)

# Fuzz one target (cargo install cargo-fuzz)
fuzz-run target seconds="600":
    mkdir -p fuzz/corpus/{{target}}
    cargo fuzz run --sanitizer none {{target}} fuzz/corpus/{{target}} tests/data/fuzz/{{target}} -- -max_total_time={{seconds}}

# Measure: relay, session, log or abuse; options of the bench may follow
bench name="relay" *options:
    cargo bench --bench {{name}} -- {{options}}

# Put Rust code and web/ into form
fix:
    cargo fmt
    cd web && npm run format

# Have git check what is committed
hook:
    git config core.hooksPath .githooks

[private]
step *arguments:
    @./test.sh {{arguments}}
