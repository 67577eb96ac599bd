//! One project as the rest of the product sees it: `project.yml`, checked, with everything derived that it leaves open.
//!
//! Invariants: the id is well formed and is the name of the project's directory; every path is absolute; `~` stands for
//! the home directory and a relative path starts at the project's directory, whatever the current one is; gatekeeping
//! has its gate. What a project leaves open of `run`, `image.base_image` and the shield follows `config.yml`.

use std::cell::{Cell, LazyCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::path::{expand_home, resolve};
use base::shared::Shared;
use base::stamp::Stamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::identity::{self, Identity, Person};
use crate::place::{self, below};
use crate::schema::{self, Document};
use crate::setting::{self, Settings};
use crate::{ProjectError, document, id};

/// Name of a project's file.
pub const FILE: &str = "project.yml";
/// Remembered models; more are read anew each time.
const KEPT: usize = 16384;

/// What all projects have in common: directories, settings, git's own identity. Read once per listing.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Projects of the user.
    pub user_projects: PathBuf,
    /// Projects of the system.
    pub system_projects: PathBuf,
    /// Workspaces of tasks, one directory per project.
    pub tasks: PathBuf,
    /// Mirrors.
    pub gates: PathBuf,
    /// Build contexts.
    pub builds: PathBuf,
    /// `config.yml`.
    pub settings: Arc<Settings>,
    /// Git's global name and address.
    pub git: Person,
}

impl Surroundings {
    fn same(&self, other: &Self) -> bool {
        let places = [(&self.user_projects, &other.user_projects), (&self.system_projects, &other.system_projects)];
        let more = [(&self.tasks, &other.tasks), (&self.gates, &other.gates), (&self.builds, &other.builds)];
        let alike = places.iter().chain(&more).all(|(ours, theirs)| ours == theirs);
        alike && Arc::ptr_eq(&self.settings, &other.settings) && self.git == other.git
    }

    /// Those of this process, now.
    ///
    /// # Errors
    /// [`ProjectError::Path`] when there is no home directory.
    pub fn current() -> Result<Self, ProjectError> {
        // Looked at once: each look is several questions to the file system.
        let settings = setting::load();
        let root = LazyCell::new(place::state_root);
        let state = || LazyCell::force(&root).clone();
        Ok(Self {
            user_projects: place::user_projects_in(&settings)?,
            system_projects: place::system_projects()?,
            tasks: below(&place::sandbox_live_in(&settings, state)?, "tasks"),
            gates: place::gate_repos_in(&settings, state)?,
            builds: place::build_in(&settings, state)?,
            git: identity::git_global(),
            settings,
        })
    }
}

/// The fields of a project, named as Python names them; their meaning is that of the keys they come from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the schema describes the keys")]
pub struct Model {
    pub id: String,
    pub security_class: String,
    pub isolation: String,
    pub upstream_url: Option<String>,
    pub default_branch: Option<String>,
    pub root: PathBuf,
    pub tasks_root: PathBuf,
    pub gate_path: PathBuf,
    pub gate_enabled: bool,
    pub staging_root: Option<PathBuf>,
    pub ssh_use_personal: bool,
    pub expose_external_remote: bool,
    pub human_name: Option<String>,
    pub human_email: Option<String>,
    pub git_authorship: String,
    pub upstream_polling_enabled: bool,
    pub upstream_polling_interval_minutes: i64,
    pub auto_sync_enabled: bool,
    pub auto_sync_branches: Vec<Value>,
    pub default_agent: Option<String>,
    pub default_shell: Option<String>,
    pub agent_config: Map<String, Value>,
    pub credentials_scope: String,
    pub shutdown_timeout: i64,
    pub memory: Option<String>,
    pub cpus: Option<String>,
    pub log_size: Option<String>,
    pub nested_containers: bool,
    pub runtime: Option<String>,
    pub timezone: Option<String>,
    pub task_name_categories: Option<Vec<Value>>,
    pub shield_drop_on_task_run: bool,
    pub shield_on_task_restart: String,
    pub hook_pre_start: Option<String>,
    pub hook_post_start: Option<String>,
    pub hook_post_ready: Option<String>,
    pub hook_post_stop: Option<String>,
    pub base_image: String,
    pub family: Option<String>,
    pub agents: String,
    pub snippet_inline: Option<String>,
    pub snippet_file: Option<String>,
    pub shared_dir: Option<PathBuf>,
}

/// Models that were read, and the surroundings in which they were: a listing that is repeated only looks at time stamps.
type Known = (Surroundings, HashMap<PathBuf, (Stamp, Arc<Model>)>);
static KNOWN: Shared<Option<Known>> = Shared::new();

/// Reads the project in directory `dir`, whose last component is its id; its parent must be free of links.
///
/// # Errors
/// [`ProjectError`], one variant per way in which `project.yml` can be wrong.
pub fn read(dir: &Path, around: &Surroundings) -> Result<Arc<Model>, ProjectError> {
    let path = dir.join(FILE);
    // Taken and judged before the file is read: a change in between gives it another one.
    let stamp = Stamp::of(&path).map_err(ProjectError::read(&path))?;
    if let Some(model) = recall(&path, stamp, around) {
        return Ok(model);
    }
    let settled = stamp.is_settled();
    let (model, linked) = derive(dir, &path, around)?;
    let model = Arc::new(model);
    // Where a link leads can change while the file does not.
    if settled && !linked {
        remember(path, stamp, around, &model);
    }
    Ok(model)
}

fn recall(path: &Path, stamp: Stamp, around: &Surroundings) -> Option<Arc<Model>> {
    let guard = KNOWN.lock();
    let (then, models) = guard.as_ref()?;
    let (known, model) = models.get(path)?;
    (*known == stamp && then.same(around)).then(|| Arc::clone(model))
}

fn remember(path: PathBuf, stamp: Stamp, around: &Surroundings, model: &Arc<Model>) {
    let mut guard = KNOWN.lock();
    let known = guard.take().filter(|(then, _)| then.same(around));
    let (then, mut models) = known.unwrap_or_else(|| (around.clone(), HashMap::new()));
    if models.len() < KEPT || models.contains_key(&path) {
        models.insert(path, (stamp, Arc::clone(model)));
    }
    *guard = Some((then, models));
}

/// The model, and whether one of its places was found through a link.
fn derive(dir: &Path, path: &Path, around: &Surroundings) -> Result<(Model, bool), ProjectError> {
    let raw = document::read(path)?;
    let checked = schema::validate(Document::Project, &raw).map_err(|errors| {
        let lines: Vec<_> = errors.iter().map(|error| format!("  {}", error.line(" → "))).collect();
        ProjectError::Invalid { path: path.to_owned(), errors: lines.join("\n") }
    })?;
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let root = below(dir.parent().unwrap_or(Path::new("/")), &name);
    let draft = Draft { raw: &raw, checked: &checked, around, root, path, linked: Cell::new(false) };
    let model = draft.model(dir)?;
    let places = [&model.root, &model.tasks_root, &model.gate_path].into_iter();
    let odd = places.chain(&model.staging_root).chain(&model.shared_dir).find(|place| place.to_str().is_none());
    match odd {
        Some(place) => Err(ProjectError::NotText(place.clone())),
        None => Ok((model, draft.linked.get())),
    }
}

/// A checked document on its way to become a [`Model`].
struct Draft<'a> {
    raw: &'a Value,
    checked: &'a Value,
    around: &'a Surroundings,
    root: PathBuf,
    path: &'a Path,
    linked: Cell<bool>,
}

impl Draft<'_> {
    fn model(&self, dir: &Path) -> Result<Model, ProjectError> {
        let id = self.id(dir)?;
        let security_class = self.text("project.security_class").unwrap_or_default();
        let gate_enabled = self.flag("gate.enabled");
        let gated = security_class == "gatekeeping";
        if gated && !gate_enabled {
            return Err(ProjectError::NoGate(id));
        }
        let tasks_root = self.place("tasks.root", &self.around.tasks, &id);
        let who = self.identity()?;
        Ok(Model {
            gate_path: self.place("gate.path", &self.around.gates, &format!("{id}.git")),
            staging_root: gated.then(|| self.place("gatekeeping.staging_root", &self.around.builds, &id)),
            shared_dir: self.shared_dir(&tasks_root)?,
            isolation: self.text("project.isolation").unwrap_or_default(),
            upstream_url: self.text("git.upstream_url"),
            default_branch: self.text("git.default_branch"),
            ssh_use_personal: self.own_or_global("ssh.use_personal") == true,
            expose_external_remote: self.flag("gatekeeping.expose_external_remote"),
            human_name: Some(who.name),
            human_email: Some(who.email),
            git_authorship: who.authorship,
            upstream_polling_enabled: self.flag("gatekeeping.upstream_polling.enabled"),
            upstream_polling_interval_minutes: number(at(
                self.checked,
                "gatekeeping.upstream_polling.interval_minutes",
            )),
            auto_sync_enabled: self.flag("gatekeeping.auto_sync.enabled"),
            auto_sync_branches: at(self.checked, "gatekeeping.auto_sync.branches")
                .as_array()
                .cloned()
                .unwrap_or_default(),
            default_agent: self.text("default_agent").or_else(|| self.global_text("default_agent")),
            default_shell: self.default_shell(),
            agent_config: self.agent_config(),
            credentials_scope: self.text("credentials.scope").unwrap_or_default(),
            shutdown_timeout: number(self.own_or_global("run.shutdown_timeout")),
            memory: filled(self.own_or_global("run.memory")),
            cpus: filled(self.own_or_global("run.cpus")),
            log_size: filled(self.own_or_global("run.log_size")),
            nested_containers: self.own_or_global("run.nested_containers") == true,
            runtime: self.text("run.runtime"),
            timezone: filled(self.own_or_global("run.timezone")),
            task_name_categories: at(self.checked, "tasks.name_categories").as_array().cloned(),
            shield_drop_on_task_run: self.own_or_global("shield.drop_on_task_run") == true,
            shield_on_task_restart: filled(self.own_or_global("shield.on_task_restart")).unwrap_or_default(),
            hook_pre_start: filled(self.own_or_global("run.hooks.pre_start")),
            hook_post_start: filled(self.own_or_global("run.hooks.post_start")),
            hook_post_ready: filled(self.own_or_global("run.hooks.post_ready")),
            hook_post_stop: filled(self.own_or_global("run.hooks.post_stop")),
            base_image: self.base_image(),
            family: self.family(),
            agents: self.agents(),
            snippet_inline: at(self.checked, "image.user_snippet_inline").as_str().map(str::to_owned),
            snippet_file: at(self.checked, "image.user_snippet_file").as_str().map(str::to_owned),
            root: self.root.clone(),
            id,
            security_class,
            tasks_root,
            gate_enabled,
        })
    }

    fn id(&self, dir: &Path) -> Result<String, ProjectError> {
        let dir = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let id = self.text("project.id").unwrap_or_else(|| dir.clone());
        id::check(&id)?;
        match id == dir {
            true => Ok(id),
            false => Err(ProjectError::Renamed { id, dir, path: self.path.to_owned() }),
        }
    }

    fn identity(&self) -> Result<Identity, ProjectError> {
        let empty = Map::new();
        let section = |whole| at(whole, "git").as_object().unwrap_or(&empty);
        identity::resolve(&self.around.git, section(self.around.settings.valid()), section(self.checked))
    }

    /// What the project says, or `config.yml` when the project says nothing or null.
    fn own_or_global(&self, key: &str) -> &Value {
        match at(self.raw, key) {
            Value::Null => self.around.settings.value(key),
            _ => at(self.checked, key),
        }
    }

    fn text(&self, key: &str) -> Option<String> {
        filled(at(self.checked, key))
    }

    fn global_text(&self, key: &str) -> Option<String> {
        filled(self.around.settings.value(key))
    }

    fn flag(&self, key: &str) -> bool {
        at(self.checked, key) == true
    }

    /// The place that the project names, or `name` in the resolved directory `dir`.
    fn place(&self, key: &str, dir: &Path, name: &str) -> PathBuf {
        match self.text(key) {
            Some(text) => self.follow(self.root.join(expand_home(Path::new(&text)))),
            None => self.noted(below(dir, name), &dir.join(name)),
        }
    }

    fn follow(&self, written: PathBuf) -> PathBuf {
        self.noted(resolve(&written), &written)
    }

    /// Notes when a link, or `..`, had a say in where something is.
    fn noted(&self, real: PathBuf, written: &Path) -> PathBuf {
        self.linked.set(self.linked.get() || real != written);
        real
    }

    fn shared_dir(&self, tasks_root: &Path) -> Result<Option<PathBuf>, ProjectError> {
        match at(self.checked, "shared_dir") {
            Value::Bool(true) => Ok(Some(tasks_root.join("_shared"))),
            Value::String(text) => match expand_home(Path::new(text)) {
                path if path.is_absolute() => Ok(Some(self.follow(path))),
                _ => Err(ProjectError::SharedDir(text.clone())),
            },
            _ => Ok(None),
        }
    }

    fn default_shell(&self) -> Option<String> {
        let own = || self.text("default_shell").or_else(|| self.text("default_login"));
        let global = || self.global_text("default_shell").or_else(|| self.global_text("default_login"));
        own().or_else(global)
    }

    fn agents(&self) -> String {
        let own = self.text("image.agents").or_else(|| self.global_text("image.agents"));
        own.unwrap_or_else(|| "all".to_owned())
    }

    fn base_image(&self) -> String {
        let own = filled(self.own_or_global("image.base_image")).or_else(|| self.global_text("image.base_image"));
        own.unwrap_or_default()
    }

    /// The family of `config.yml` belongs to the base image of `config.yml`.
    fn family(&self) -> Option<String> {
        match at(self.raw, "image.base_image") {
            Value::Null => filled(self.own_or_global("image.family")),
            _ => self.text("image.family"),
        }
    }

    fn agent_config(&self) -> Map<String, Value> {
        let mut agent = at(self.checked, "agent").as_object().cloned().unwrap_or_default();
        anchor_files(&mut agent, &self.root, |written| self.follow(written));
        agent
    }
}

/// Makes the `file` of every subagent absolute with `follow`, relative ones from `base`; whatever is not a text stays as
/// it is.
pub(crate) fn anchor_files(agent: &mut Map<String, Value>, base: &Path, follow: impl Fn(PathBuf) -> PathBuf) {
    let Some(subagents) = agent.get_mut("subagents").and_then(Value::as_array_mut) else { return };
    for file in subagents.iter_mut().filter_map(|entry| entry.get_mut("file")) {
        if let Some(text) = file.as_str().filter(|text| !text.trim().is_empty()) {
            *file = follow(base.join(expand_home(Path::new(text)))).to_string_lossy().into();
        }
    }
}

fn at<'a>(document: &'a Value, dotted: &str) -> &'a Value {
    dotted.split('.').fold(document, |found, key| found.get(key).unwrap_or(&Value::Null))
}

/// A number that is too large for us is the largest we have.
fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(if value.is_u64() { i64::MAX } else { 0 })
}

fn filled(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}
