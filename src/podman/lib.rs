//! Podman as a program: argv model, output parsing, runtimes.
