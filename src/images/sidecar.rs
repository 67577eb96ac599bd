//! The image of one tool that runs beside the agents and is handed a real key.
//!
//! It holds no agent. No package registry offers a program for any of the bundled tools, so the operator supplies it;
//! it is copied into the context and never downloaded.

use std::path::PathBuf;

use podman::Podman;
use serde::Deserialize;

use crate::argv::Build;
use crate::base_image;
use crate::ca::Trust;
use crate::pipeline::{self, BaseRequest, Context};
use crate::runner::{self, Output};
use crate::{ImageError, render, tag};

/// What to build.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// Base image; blank for the default.
    pub base_image: String,
    /// Package family, when it cannot be guessed.
    pub family: Option<String>,
    /// The tool.
    pub tool: String,
    /// Its program on this machine.
    pub program: Option<PathBuf>,
    /// Copy the program again.
    pub rebuild: bool,
    /// Do everything again.
    pub full_rebuild: bool,
    /// Context to use and keep; it must be empty or absent.
    pub build_dir: Option<PathBuf>,
    /// Whether the host's additional certificates go into the image.
    pub trust_host_ca: Trust,
}

/// Builds the tool layer, and the shared layer when it is missing; the tag of the former.
///
/// # Errors
/// [`ImageError`].
pub fn build(podman: &Podman, request: &Request, output: &mut Output<'_>) -> Result<String, ImageError> {
    let base = base_image::normalise(&request.base_image);
    pipeline::check_build_dir(request.build_dir.as_deref())?;
    pipeline::require(podman)?;
    base_image::validate(base)?;
    let (l0, sidecar) = (tag::l0(base), tag::l1_sidecar(base));
    let have_l0 = podman.image_exists(&l0);
    if !request.rebuild && !request.full_rebuild && have_l0 && podman.image_exists(&sidecar) {
        return Ok(sidecar);
    }
    let family = base_image::family(base, request.family.as_deref())?;
    let text = render::sidecar(&l0, family, &request.tool, "0")?;
    let Some(program) = &request.program else {
        return Err(ImageError::ToolUnsupported(request.tool.clone()));
    };
    let context = Context::open(request.build_dir.as_deref(), "terok-executor-sidecar-", &sidecar)?;
    if !have_l0 || request.full_rebuild {
        let l0_request = BaseRequest {
            base_image: request.base_image.clone(),
            full_rebuild: request.full_rebuild,
            trust_host_ca: request.trust_host_ca,
            ..BaseRequest::default()
        };
        pipeline::build_l0(podman, &l0_request, family, &context, output)?;
    }
    context.fill(&sidecar, |path| {
        let tools = path.join("tool");
        let copied = std::fs::create_dir_all(&tools).and_then(|()| std::fs::copy(program, tools.join(&request.tool)));
        copied.map_err(|source| ImageError::Stage { path: program.clone(), source })?;
        pipeline::write(&path.join("L1.sidecar.Dockerfile"), &text)
    })?;
    let build = Build {
        dockerfile: context.path.join("L1.sidecar.Dockerfile"),
        context: context.path.clone(),
        tag: sidecar.clone(),
        build_args: vec![("BASE_IMAGE".to_owned(), l0), ("TOOL_CACHE_BUST".to_owned(), pipeline::unix_seconds())],
        no_cache: request.full_rebuild,
        ..Build::default()
    };
    runner::build(podman, &build, output)?;
    Ok(sidecar)
}
