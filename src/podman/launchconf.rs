//! Makes the `containers.conf` that launches use: the site's settings of engine and network, our own of containers.
//!
//! Podman adds a site's volumes, devices, variables and annotations to every container, and no option takes them away.
//! So a launch calls podman with a file of ours in [`crate::conffile::ALONE`]. It holds what the site's files say in all
//! tables but `[containers]`, where only settings that cannot weaken a container are taken over.
//!
//! Invariants:
//! - Engine settings are the site's, because podman's store, locks and cleanup depend on them.
//! - A setting that is left out, or that takes part, is known by its name and file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value};

use crate::conffile::{ConfFileError, ConfFiles, load};
use crate::explicit;

/// What becomes of a site's setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Launches do not use it.
    Ignored,
    /// Launches use it.
    TakesPart,
    /// Launches do not use it, but podman does when it starts the container again by itself, and it weakens.
    WeakensRestart,
    /// Launches use it, and it weakens.
    Weakens,
}

/// One setting of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Table and name.
    pub key: String,
    /// The file that decides it.
    pub file: PathBuf,
    /// What becomes of it.
    pub effect: Effect,
}

/// Settings of `[containers]` that launches take over.
const KEPT: [&str; 9] = [
    "apparmor_profile",
    "base_hosts_file",
    "dns_options",
    "dns_searches",
    "dns_servers",
    "host_containers_internal_ip",
    "init_path",
    "shm_size",
    "userns_size",
];
/// Settings of `[engine]` that decide which programs run for a container, or in which environment.
const PROGRAMS: [&str; 9] = [
    "conmon_env_vars",
    "conmon_path",
    "env",
    "helper_binaries_dir",
    "hooks_dir",
    "network_cmd_options",
    "network_cmd_path",
    "runtime",
    "runtimes",
];
/// Options of pasta that neither open the host's loopback nor publish a port; the first ones have a value.
const PASTA_VALUED: [&str; 22] = [
    "-D",
    "-I",
    "-M",
    "-S",
    "-a",
    "-g",
    "-i",
    "-m",
    "-n",
    "-o",
    "--address",
    "--dns",
    "--dns-forward",
    "--gateway",
    "--interface",
    "--mtu",
    "--netmask",
    "--ns-ifname",
    "--ns-mac-addr",
    "--outbound",
    "--outbound-if4",
    "--search",
];
const PASTA_FLAGS: [&str; 12] = [
    "-4",
    "-6",
    "--ipv4-only",
    "--ipv6-only",
    "--no-dhcp",
    "--no-dhcpv6",
    "--no-icmp",
    "--no-map-gw",
    "--no-ndp",
    "--no-ra",
    "--no-tcp",
    "--no-udp",
];

/// The configuration of launches.
#[derive(Debug, Clone)]
pub struct LaunchConf {
    text: String,
    settings: Vec<Setting>,
}

impl LaunchConf {
    /// Reads the site's files.
    ///
    /// # Errors
    /// [`ConfFileError`] for a file that podman would refuse as well.
    pub fn read(files: &ConfFiles) -> Result<Self, ConfFileError> {
        let mut merge = Merge::default();
        for path in files.read_order() {
            if let Some(document) = load(path)? {
                merge.add(&document, path)?;
            }
        }
        Ok(merge.finish())
    }

    /// The text of the file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The site's settings that matter to containers, by name.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// Writes the file; unchanged text is left alone.
    ///
    /// # Errors
    /// The operating system's.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let same = base::file::read_regular(path, 4 * 1024 * 1024).is_ok_and(|old| old == self.text.as_bytes());
        if same {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            base::file::create_private_dir(parent)?;
        }
        // Settings such as `engine.env` may hold the password of a proxy.
        base::file::write_private(path, self.text.as_bytes())
    }
}

/// One setting while files are read.
struct Merged {
    item: Item,
    file: PathBuf,
    /// A later list is added to it.
    appends: bool,
    /// Podman's built-in list is a part of it.
    extends_default: bool,
}

#[derive(Default)]
struct Merge {
    tables: BTreeMap<String, BTreeMap<String, Merged>>,
}

impl Merge {
    fn add(&mut self, document: &DocumentMut, path: &Path) -> Result<(), ConfFileError> {
        for (table, item) in document.iter() {
            let entries = item.as_table_like().ok_or_else(|| ConfFileError::Shape {
                path: path.to_owned(),
                why: format!("`{}` is not a table", base::text::sanitize_tty(table)),
            })?;
            for (key, item) in entries.iter() {
                self.set(table, key, item, path);
            }
        }
        Ok(())
    }

    fn set(&mut self, table: &str, key: &str, item: &Item, path: &Path) {
        let settings = self.tables.entry(table.to_owned()).or_default();
        let before = settings.remove(key);
        let (list, marker) = match item.as_array().and_then(strings) {
            Some((list, marker)) => (Some(list), marker),
            None => (None, None),
        };
        let appends = marker.unwrap_or_else(|| before.as_ref().is_some_and(|b| b.appends));
        let merged = match (before, list) {
            (before, Some(list)) if appends => {
                let extends_default = before.as_ref().is_none_or(|b| b.extends_default);
                let old = before.and_then(|b| strings(b.item.as_array()?)).map_or(Vec::new(), |(old, _)| old);
                let item = Item::Value(Value::Array(old.into_iter().chain(list).collect()));
                Merged { item, file: path.to_owned(), appends, extends_default }
            }
            (_, Some(list)) => {
                let item = Item::Value(Value::Array(list.into_iter().collect()));
                Merged { item, file: path.to_owned(), appends, extends_default: false }
            }
            (before, None) => {
                let mut item = item.clone();
                if let Some(before) = before {
                    keep_missing(&mut item, &before.item);
                }
                Merged { item, file: path.to_owned(), appends, extends_default: false }
            }
        };
        settings.insert(key.to_owned(), merged);
    }

    fn finish(mut self) -> LaunchConf {
        let mut settings = Vec::new();
        let mut document = DocumentMut::new();
        let containers = self.tables.remove("containers").unwrap_or_default();
        document.insert("containers", Item::Table(own_containers(containers, &mut settings)));
        for (table, entries) in self.tables {
            let mut out = Table::new();
            for (key, mut merged) in entries {
                let full = format!("{table}.{key}");
                // Its values differ between podman 4 and 5, so no option of a launch can say the default.
                if full == "engine.image_volume_mode" {
                    settings.push(Setting { key: full, file: merged.file, effect: Effect::Ignored });
                    continue;
                }
                if let Some(effect) = judge(&full, &mut merged.item) {
                    settings.push(Setting { key: full, file: merged.file, effect });
                }
                out.insert(&key, emitted(merged.item, merged.extends_default));
            }
            document.insert(&table, Item::Table(out));
        }
        settings.retain(|setting| setting.file != Path::new(crate::conffile::VENDOR));
        settings.sort_by(|a, b| a.key.cmp(&b.key));
        let head =
            "# Made from podman's configuration for the containers that terok launches; changes are overwritten.\n";
        LaunchConf { text: format!("{head}{document}"), settings }
    }
}

/// The texts of a list and the marker that newer versions of podman allow in it; `None` for lists of something else.
fn strings(array: &Array) -> Option<(Vec<String>, Option<bool>)> {
    let (mut list, mut marker) = (Vec::new(), None);
    for value in array {
        match value {
            Value::String(text) => list.push(text.value().clone()),
            Value::InlineTable(table) => marker = Some(table.get("append")?.as_bool()?),
            _ => return None,
        }
    }
    Some((list, marker))
}

/// Tables such as `engine.runtimes` are merged by name.
fn keep_missing(item: &mut Item, before: &Item) {
    if let (Some(new), Some(old)) = (item.as_table_like_mut(), before.as_table_like()) {
        for (key, value) in old.iter() {
            if new.get(key).is_none() {
                new.insert(key, value.clone());
            }
        }
    }
}

fn emitted(item: Item, extends_default: bool) -> Item {
    let mut item = item;
    match item.as_value_mut() {
        Some(Value::Array(array)) => {
            if extends_default {
                array.push(InlineTable::from_iter([("append", true)]));
            }
            array.decor_mut().clear();
            array.fmt();
        }
        Some(value) => value.decor_mut().clear(),
        None => {}
    }
    item
}

/// Our own table: what a site may decide, and what the options of a launch do not say.
fn own_containers(site: BTreeMap<String, Merged>, settings: &mut Vec<Setting>) -> Table {
    let mut table = Table::new();
    let list = |items: &[&str]| toml_edit::value(items.iter().copied().collect::<Array>());
    for empty in ["annotations", "default_ulimits", "devices", "volumes"] {
        table.insert(empty, list(&[]));
    }
    table.insert("default_capabilities", list(&explicit::CAPABILITIES));
    table.insert("default_sysctls", list(&["net.ipv4.ping_group_range=0 0"]));
    for (key, value) in [("env_host", false), ("http_proxy", false), ("init", false), ("keyring", true)] {
        table.insert(key, toml_edit::value(value));
    }
    table.insert("label", toml_edit::value(true));
    for key in ["cgroupns", "ipcns", "netns", "pidns", "utsns"] {
        table.insert(key, toml_edit::value("private"));
    }
    for (key, merged) in site {
        let harmless = table.get(&key).is_some_and(|own| same(own, &merged.item));
        let kept = KEPT.contains(&key.as_str()) && merged.item.as_str() != Some("unconfined");
        if kept {
            table.insert(&key, emitted(merged.item, merged.extends_default));
        }
        if !harmless {
            let effect = if kept { Effect::TakesPart } else { Effect::Ignored };
            settings.push(Setting { key: format!("containers.{key}"), file: merged.file, effect });
        }
    }
    table
}

fn same(own: &Item, theirs: &Item) -> bool {
    let plain = |item: &Item| match item.as_value() {
        Some(Value::Array(array)) => strings(array).map(|(list, _)| list.join("\n")),
        Some(Value::Boolean(flag)) => Some(flag.value().to_string()),
        Some(Value::String(text)) => Some(text.value().clone()),
        _ => None,
    };
    plain(own).is_some_and(|own| plain(theirs) == Some(own))
}

/// What a setting of another table does to a launch; what would weaken it is taken out where podman can do without.
fn judge(key: &str, item: &mut Item) -> Option<Effect> {
    match key {
        "engine.network_cmd_options" => {
            let opened = remove(item, |list| list.retain(|option| !option.starts_with("allow_host_loopback")));
            // Every launch says for itself whether slirp4netns shows the host's loopback; podman keeps that.
            Some(if opened { Effect::Ignored } else { Effect::TakesPart })
        }
        "network.pasta_options" => {
            let opened = remove(item, |list| *list = harmless_pasta_options(list));
            Some(if opened { Effect::WeakensRestart } else { Effect::TakesPart })
        }
        "engine.no_pivot_root" => (item.as_bool() == Some(true)).then_some(Effect::Weakens),
        _ => {
            let name = key.strip_prefix("engine.")?;
            PROGRAMS.contains(&name).then_some(Effect::TakesPart)
        }
    }
}

/// Changes a list of texts; true when it became shorter.
fn remove(item: &mut Item, change: impl FnOnce(&mut Vec<String>)) -> bool {
    let Some((mut list, _)) = item.as_array().and_then(strings) else { return false };
    let before = list.len();
    change(&mut list);
    let shorter = list.len() < before;
    *item = toml_edit::value(list.into_iter().collect::<Array>());
    shorter
}

fn harmless_pasta_options(list: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = list.iter().peekable();
    while let Some(word) = words.next() {
        let name = word.split('=').next().unwrap_or_default();
        let glued = name.len() < word.len();
        let value = if glued { None } else { words.next_if(|next| !next.starts_with('-')) };
        let known = if glued || value.is_some() { &PASTA_VALUED[..] } else { &PASTA_FLAGS[..] };
        if known.contains(&name) {
            kept.push(word.clone());
            kept.extend(value.cloned());
        }
    }
    kept
}

#[cfg(test)]
#[path = "launchconf_test.rs"]
mod tests;
