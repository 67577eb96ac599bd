//! The keys of `config.yml` and `project.yml`.

use crate::schema::{Fallback, Field, Section, Shape};

const fn field(name: &'static str, shape: Shape, default: Fallback, purpose: &'static str) -> Field {
    Field { name, shape, nullable: matches!(default, Fallback::Nothing), default, purpose }
}

const fn text(name: &'static str, purpose: &'static str) -> Field {
    field(name, Shape::Text, Fallback::Nothing, purpose)
}

const fn flag(name: &'static str, default: bool, purpose: &'static str) -> Field {
    field(name, Shape::Flag, Fallback::Flag(default), purpose)
}

const fn keys(name: &'static str, section: &'static Section, purpose: &'static str) -> Field {
    field(name, Shape::Section(section), Fallback::Empty, purpose)
}

const fn section(class: &'static str, purpose: &'static str, fields: &'static [Field]) -> Section {
    Section { class, purpose, fields, ascending: None }
}

const PORT: Shape = Shape::Number(Some(1), Some(65535));
const RANGE: Shape = Shape::Number(Some(1024), Some(65535));
const RESTART: Shape = Shape::OneOf(&["retain", "up"]);

const fn port(name: &'static str, purpose: &'static str) -> Field {
    field(name, PORT, Fallback::Nothing, purpose)
}

const DEFAULT_AGENT: Field = text("default_agent", "Agent that is meant when a command names none.");
const DEFAULT_SHELL: Field = text("default_shell", "Command that a login starts instead of the usual one.");
const DEFAULT_LOGIN: Field = text("default_login", "Older name of default_shell.");
const AGENT: Field =
    field("agent", Shape::Mapping, Fallback::Empty, "Settings handed to the agents, such as model and max_turns.");

static CREDENTIALS: Section = section(
    "RawCredentialsSection",
    "Where credentials are kept and how their database is opened.",
    &[
        text("dir", "Directory of the credential vault."),
        text("passphrase", "Vault passphrase in plain text; the weakest tier."),
        flag("use_keyring", false, "Ask the desktop keyring for the passphrase."),
        text("passphrase_command", "Command that prints the passphrase."),
    ],
);

static PATHS: Section = section(
    "RawPathsSection",
    "Directories of the family.",
    &[
        text("root", "State root of all packages."),
        text("build_dir", "Directory of image build contexts."),
        text("sandbox_live_dir", "Directory of task workspaces and shared mounts."),
        text("user_projects_dir", "Directory of the user's projects."),
        text("user_presets_dir", "Directory of the user's presets."),
        text("port_registry_dir", "Directory of port claims of all users."),
    ],
);

static SHIELD: Section = section(
    "RawShieldSection",
    "The egress firewall.",
    &[
        flag("bypass_firewall_no_protection", false, "Run projects without the firewall."),
        field("profiles", Shape::Mapping, Fallback::Nothing, "Allow-list profiles by name."),
        flag("audit", true, "Log what the firewall decides."),
        flag("drop_on_task_run", true, "Open the firewall when a task starts."),
        field(
            "on_task_restart",
            RESTART,
            Fallback::Text("retain"),
            "Firewall state of a restarted task: as it was, or closed.",
        ),
    ],
);

static SERVICES: Section = section(
    "RawServicesSection",
    "How containers reach the services of the host.",
    &[field("mode", Shape::OneOf(&["tcp", "socket"]), Fallback::Text("socket"), "Unix sockets, or TCP on loopback.")],
);

static VAULT: Section = section(
    "RawVaultSection",
    "The credential broker and the SSH signer.",
    &[
        flag("bypass_no_secret_protection", false, "Hand real secrets to containers."),
        port("port", "Fixed TCP port of the credential broker."),
        port("ssh_signer_port", "Fixed TCP port of the SSH signer."),
    ],
);

static GATE_SERVER: Section = section(
    "RawGateServerSection",
    "The git gate.",
    &[
        port("port", "Fixed TCP port of the git gate."),
        text("repos_dir", "Directory of the bare mirrors."),
        flag("suppress_systemd_warning", false, "Accepted from older files; has no effect."),
        field(
            "push_limit_mib",
            Shape::Number(Some(1), Some(1048576)),
            Fallback::Number(2048),
            "Most MiB of one push through the gate.",
        ),
        field(
            "references_per_push",
            Shape::Number(Some(1), Some(10000)),
            Fallback::Number(10000),
            "Most branches and tags that one push changes.",
        ),
        field(
            "kept_tips",
            Shape::Number(Some(1), Some(1000000)),
            Fallback::Number(10000),
            "Most old tips that the gate keeps in one repository.",
        ),
        field(
            "git_memory_mib",
            Shape::Number(Some(256), Some(1048576)),
            Fallback::Number(512),
            "MiB of memory for all git processes that work for one container.",
        ),
    ],
);

static NETWORK: Section = Section {
    class: "RawNetworkSection",
    purpose: "Ports that may be given out.",
    fields: &[
        field("port_range_start", RANGE, Fallback::Number(18700), "First port of the range."),
        field("port_range_end", RANGE, Fallback::Number(32700), "Last port of the range."),
    ],
    ascending: Some(("port_range_start", "port_range_end")),
};

static SSH: Section = section(
    "RawSSHSection",
    "SSH keys for the git gate.",
    &[field("use_personal", Shape::Flag, Fallback::Nothing, "Let the gate use the user's own SSH keys.")],
);

static HOOKS: Section = section(
    "RawHooksSection",
    "Shell commands on the host around a task.",
    &[
        text("pre_start", "Before the container starts."),
        text("post_start", "After the container has started."),
        text("post_ready", "After the container reported that it is ready."),
        text("post_stop", "After the container has stopped."),
    ],
);

static RUN: Section = section(
    "RawRunSection",
    "Limits and runtime of task containers.",
    &[
        field(
            "shutdown_timeout",
            Shape::Number(Some(0), None),
            Fallback::Number(10),
            "Seconds between the request to stop and the kill.",
        ),
        field("gpus", Shape::TextOrFlag, Fallback::Nothing, "GPUs for the container: true, or a device list."),
        field("memory", Shape::Memory, Fallback::Nothing, "Memory limit, for example 4g."),
        field("cpus", Shape::Cpus, Fallback::Nothing, "CPU limit, for example 2.5."),
        field("log_size", Shape::Memory, Fallback::Nothing, "Largest log of a container; default 64m, 0 for no limit."),
        flag("nested_containers", false, "Allow containers inside the container."),
        field("runtime", Shape::OneOf(&["crun", "krun"]), Fallback::Nothing, "OCI runtime."),
        text("timezone", "Time zone of the container; default the host's."),
        keys("hooks", &HOOKS, "Host commands around a task."),
    ],
);

static IMAGE: Section = section(
    "RawImageSection",
    "What images are built from; used in ``config.yml`` and in ``project.yml``.",
    &[
        field("base_image", Shape::Text, Fallback::Text("fedora:44"), "Image that everything is built on."),
        field(
            "family",
            Shape::OneOf(&["deb", "rpm"]),
            Fallback::Nothing,
            "Package family of the base image; unset means: tell from its name.",
        ),
        field(
            "trust_host_ca",
            Shape::OneOf(&["auto", "always", "never"]),
            Fallback::Text("auto"),
            "Whether images trust the certificates that this host trusts beyond the usual ones; always also takes \
             bundles named in the environment as a whole.",
        ),
        text("agents", "Agents to install: all, or a list of names."),
        text("user_snippet_inline", "Dockerfile lines of your own."),
        text("user_snippet_file", "File with Dockerfile lines of your own."),
    ],
);

static TUI: Section = section(
    "RawTUISection",
    "The terminal front end.",
    &[
        flag("default_tmux", false, "Start inside tmux unless told otherwise."),
        flag("external_editor", true, "Edit texts in $EDITOR instead of the built-in one."),
        field(
            "desktop_entry",
            Shape::OneOf(&["auto", "skip", "install"]),
            Fallback::Text("auto"),
            "Whether setup puts an entry into the desktop's menu.",
        ),
    ],
);

static LOGS: Section = section(
    "RawLogsSection",
    "How task logs are shown.",
    &[flag("partial_streaming", true, "Show what an agent says while it is still saying it.")],
);

const CATEGORIES: Field =
    field("name_categories", Shape::Categories, Fallback::Nothing, "Word lists that names of new tasks come from.");

static TASKS_GLOBAL: Section = section("RawTasksGlobalSection", "New tasks.", &[CATEGORIES]);

const HUMAN_NAME: Field = text("human_name", "Name of the person in commits.");
const HUMAN_EMAIL: Field = text("human_email", "Mail address of the person in commits.");
const AUTHORSHIP: Field =
    text("authorship", "Who is author and who committer: agent-human, human-agent, agent or human.");

static GIT_GLOBAL: Section =
    section("RawGlobalGitSection", "Git identity of every project.", &[HUMAN_NAME, HUMAN_EMAIL, AUTHORSHIP]);

/// `config.yml`.
pub static GLOBAL: Section = section(
    "RawGlobalConfig",
    "Everything that ``config.yml`` may hold.",
    &[
        keys("credentials", &CREDENTIALS, "Vault directory and passphrase tiers."),
        keys("paths", &PATHS, "Directories of the family."),
        keys("shield", &SHIELD, "Egress firewall."),
        keys("services", &SERVICES, "Transport between containers and host."),
        keys("vault", &VAULT, "Credential broker and SSH signer."),
        keys("gate_server", &GATE_SERVER, "Git gate."),
        keys("network", &NETWORK, "Ports that may be given out."),
        keys("ssh", &SSH, "SSH keys for the git gate."),
        keys("run", &RUN, "Limits and runtime of task containers."),
        flag("experimental", false, "Enable features that may still change."),
        keys("image", &IMAGE, "What images are built from."),
        keys("tui", &TUI, "The terminal front end."),
        keys("logs", &LOGS, "How task logs are shown."),
        keys("tasks", &TASKS_GLOBAL, "New tasks."),
        keys("git", &GIT_GLOBAL, "Git identity of every project."),
        DEFAULT_AGENT,
        DEFAULT_SHELL,
        DEFAULT_LOGIN,
        AGENT,
    ],
);

static PROJECT_SECTION: Section = section(
    "RawProjectSection",
    "What the project is.",
    &[
        field("id", Shape::Identifier, Fallback::Nothing, "Identifier; the name of the directory unless given."),
        text("name", "Name for people."),
        field(
            "security_class",
            Shape::Folded(&["online", "gatekeeping"]),
            Fallback::Text("gatekeeping"),
            "online lets the agent push to the upstream, gatekeeping keeps a gate in between.",
        ),
        field(
            "isolation",
            Shape::Folded(&["shared", "sealed"]),
            Fallback::Text("shared"),
            "shared mounts directories of the host, sealed copies them in and out.",
        ),
    ],
);

static GIT: Section = section(
    "RawGitSection",
    "The repository and who commits to it.",
    &[
        text("upstream_url", "Address of the upstream repository."),
        text("default_branch", "Branch that new work starts from."),
        HUMAN_NAME,
        HUMAN_EMAIL,
        AUTHORSHIP,
    ],
);

static TASKS: Section = section(
    "RawTasksSection",
    "Tasks of the project.",
    &[text("root", "Directory of the tasks' workspaces."), CATEGORIES],
);

static GATE: Section = section(
    "RawGateSection",
    "The project's mirror.",
    &[
        flag("enabled", true, "Give containers the mirror on the host instead of the upstream."),
        text("path", "Directory of the bare mirror; projects that name the same one share it."),
    ],
);

static UPSTREAM_POLLING: Section = section(
    "RawUpstreamPolling",
    "Looking for news at the upstream.",
    &[
        flag("enabled", true, "Whether to look."),
        field("interval_minutes", Shape::Number(None, None), Fallback::Number(5), "Minutes between two looks."),
    ],
);

static AUTO_SYNC: Section = section(
    "RawAutoSync",
    "Fetching news from the upstream unasked.",
    &[
        flag("enabled", false, "Whether to fetch."),
        field("branches", Shape::Texts, Fallback::NoItems, "Branches to fetch; none means all."),
    ],
);

static GATEKEEPING: Section = section(
    "RawGatekeepingSection",
    "What holds for projects of class gatekeeping.",
    &[
        text("staging_root", "Directory of the project's build context."),
        flag("expose_external_remote", false, "Tell containers the address of the upstream."),
        keys("upstream_polling", &UPSTREAM_POLLING, "Looking for news at the upstream."),
        keys("auto_sync", &AUTO_SYNC, "Fetching news from the upstream unasked."),
    ],
);

static SHIELD_PROJECT: Section = section(
    "RawShieldProjectSection",
    "The egress firewall; what is unset follows config.yml.",
    &[
        field("drop_on_task_run", Shape::Flag, Fallback::Nothing, "Open the firewall when a task starts."),
        field(
            "on_task_restart",
            RESTART,
            Fallback::Nothing,
            "Firewall state of a restarted task: as it was, or closed.",
        ),
    ],
);

static CREDENTIALS_PROJECT: Section = section(
    "RawCredentialsSection",
    "Whose credentials the project uses.",
    &[field(
        "scope",
        Shape::OneOf(&["shared", "project"]),
        Fallback::Text("shared"),
        "Those of every project, or its own.",
    )],
);

/// `project.yml`.
pub static PROJECT: Section = section(
    "RawProjectYaml",
    "Everything that ``project.yml`` may hold.",
    &[
        keys("project", &PROJECT_SECTION, "What the project is."),
        keys("git", &GIT, "The repository and who commits to it."),
        keys("ssh", &SSH, "SSH keys for the git gate."),
        keys("tasks", &TASKS, "Tasks of the project."),
        keys("gate", &GATE, "The project's mirror."),
        keys("gatekeeping", &GATEKEEPING, "What holds for projects of class gatekeeping."),
        keys("run", &RUN, "Limits and runtime of task containers."),
        keys("shield", &SHIELD_PROJECT, "The egress firewall; what is unset follows config.yml."),
        keys("image", &IMAGE, "What images are built from."),
        keys("credentials", &CREDENTIALS_PROJECT, "Whose credentials the project uses."),
        DEFAULT_AGENT,
        DEFAULT_SHELL,
        DEFAULT_LOGIN,
        field(
            "shared_dir",
            Shape::FlagOrText,
            Fallback::Nothing,
            "Directory that all tasks of the project share: true, or an absolute path.",
        ),
        AGENT,
    ],
);
