//! HTTP credential broker.
