//! The `bimcc-rtc` program.

fn main() -> std::process::ExitCode {
    bimcc_rtc::main()
}
