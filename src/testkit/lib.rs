//! Test support: fixtures, fake programs; dev-dependency only.
