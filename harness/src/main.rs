//! The program `relgrad`; all of it is in the library.

fn main() -> std::process::ExitCode {
    relgrad_harness::cmd::main()
}
