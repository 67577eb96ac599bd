//! The argument list of `podman run` and `podman create`, with its parts in one fixed order.
//!
//! Invariants: the order is the same for every container; a value that must not be seen travels in podman's own
//! environment and appears in the list by its name alone; nothing here judges what the parts mean.

/// Run at once and detached, or only make the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `podman run -d`.
    Run,
    /// `podman create`.
    Create,
}

/// One environment variable of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvEntry {
    /// Written into the list as `NAME=value`.
    Plain(String, String),
    /// Named in the list; the value goes through podman's environment.
    Hidden(String, String),
}

/// The parts of a launch, in the order in which they are written.
#[derive(Debug, Clone, Default)]
pub struct RunCommand {
    /// User-namespace options.
    pub userns: Vec<String>,
    /// Options of every launch, see [`crate::explicit`].
    pub explicit: Vec<String>,
    /// OCI runtime.
    pub runtime: Option<String>,
    /// Annotations.
    pub annotations: Vec<(String, String)>,
    /// Values of `--security-opt`.
    pub security: Vec<String>,
    /// Network, firewall and capability options, verbatim.
    pub network: Vec<String>,
    /// True to hand in every GPU.
    pub gpu: bool,
    /// Memory limit.
    pub memory: Option<String>,
    /// CPU limit.
    pub cpus: Option<String>,
    /// The caller's own options, verbatim.
    pub extra: Vec<String>,
    /// Values of `-v`.
    pub volumes: Vec<String>,
    /// Environment.
    pub env: Vec<EnvEntry>,
    /// Container name.
    pub name: String,
    /// Host name inside.
    pub hostname: Option<String>,
    /// Working directory inside.
    pub workdir: String,
    /// True when `image` is an identifier of the local store, which podman must not download.
    pub pinned: bool,
    /// Image.
    pub image: String,
    /// Program and arguments inside.
    pub command: Vec<String>,
}

/// A rendered command: what podman is called with, and what it gets in its environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Arguments after the program name.
    pub args: Vec<String>,
    /// Values that are named in `args`.
    pub env: Vec<(String, String)>,
}

impl RunCommand {
    /// Writes the list down.
    pub fn render(&self, verb: Verb) -> Rendered {
        let mut out = Rendered::default();
        match verb {
            Verb::Run => out.words(["run", "-d"]),
            Verb::Create => out.words(["create"]),
        }
        out.args.extend(self.userns.iter().cloned());
        out.args.extend(self.explicit.iter().cloned());
        out.option("--runtime", &self.runtime);
        for (key, value) in &self.annotations {
            out.words(["--annotation", &format!("{key}={value}")]);
        }
        for option in &self.security {
            out.words(["--security-opt", option]);
        }
        out.args.extend(self.network.iter().cloned());
        if self.gpu {
            out.words(["--device", "nvidia.com/gpu=all"]);
            out.words(["-e", "NVIDIA_VISIBLE_DEVICES=all", "-e", "NVIDIA_DRIVER_CAPABILITIES=all"]);
        }
        out.option("--memory", &self.memory);
        out.option("--cpus", &self.cpus);
        out.args.extend(self.extra.iter().cloned());
        for volume in &self.volumes {
            out.words(["-v", volume]);
        }
        for entry in &self.env {
            out.entry(entry);
        }
        out.words(["--name", &self.name]);
        out.option("--hostname", &self.hostname);
        out.words(["-w", &self.workdir]);
        if self.pinned {
            out.words(["--pull=never"]);
        }
        out.words([self.image.as_str()]);
        out.args.extend(self.command.iter().cloned());
        out
    }
}

impl Rendered {
    fn words<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        self.args.extend(words.into_iter().map(str::to_owned));
    }

    fn option(&mut self, flag: &str, value: &Option<String>) {
        if let Some(value) = value {
            self.words([flag, value]);
        }
    }

    fn entry(&mut self, entry: &EnvEntry) {
        match entry {
            EnvEntry::Plain(key, value) => self.words(["-e", &format!("{key}={value}")]),
            EnvEntry::Hidden(key, value) => {
                self.words(["-e", key]);
                self.env.push((key.clone(), value.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_values_leave_the_list() {
        let command = RunCommand {
            env: vec![EnvEntry::Plain("A".into(), "1".into()), EnvEntry::Hidden("T".into(), "s".into())],
            name: "c".into(),
            workdir: "/w".into(),
            image: "i".into(),
            command: vec!["x".into()],
            ..RunCommand::default()
        };
        let run = command.render(Verb::Run);
        assert_eq!(run.args, ["run", "-d", "-e", "A=1", "-e", "T", "--name", "c", "-w", "/w", "i", "x"]);
        assert_eq!(run.env, [("T".to_owned(), "s".to_owned())]);
        let create = command.render(Verb::Create);
        assert_eq!(create.args[..2], ["create", "-e"]);
        assert_eq!(create.args[1..], run.args[2..]);
    }
}
