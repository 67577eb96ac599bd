//! Roster, providers, wrappers, instructions, agent configuration, container environment.
