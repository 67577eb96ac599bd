//! Launch facade: argv, wiring, ports, set-up.
