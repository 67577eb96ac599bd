//! Podman as a program: argv model, output parsing, runtimes.
//!
//! Nothing here talks to podman's service socket: every request is one short process, started without a shell, with a
//! limit, and reaped. What podman can do is asked once, as JSON, and works from version 4.3 on.

pub mod call;
pub mod command;
pub mod conffile;
pub mod container;
pub mod explicit;
pub mod fault;
pub mod gpu;
pub mod identity;
pub mod image;
pub mod info;
pub mod launchconf;
pub mod listing;
pub mod logs;
pub mod runtime;
pub mod size;

pub use call::{Call, Podman, Settings, Watch};
pub use conffile::{ConfFileError, ConfFiles};
pub use fault::PodmanError;
pub use identity::ImageIdentity;
pub use image::ImageLayers;
