//! Container images: tags, Dockerfiles, builds.
