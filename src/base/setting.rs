//! The sections of `config.yml` that the sandbox reads itself: their members, types, defaults and limits.
//!
//! Invariants: a section is taken whole or not at all; a broken one yields its defaults and one notice that names section
//! and reason but never a value. Numbers where a text is expected count as their text, since YAML has no other way to
//! write a passphrase of digits. The pydantic models of the shims describe the same sections; a test compares the two.

use serde_json::{Map, Value, json};

use crate::secret::Secret;
use crate::{config, notice};

/// What a member may hold. Every member may also be absent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Text,
    Flag,
    Number(i64, i64),
    OneOf(&'static [&'static str]),
    Mapping,
}

struct Member {
    name: &'static str,
    shape: Shape,
    default: Fallback,
}

#[derive(Clone, Copy)]
enum Fallback {
    Nothing,
    Flag(bool),
    Number(i64),
    Text(&'static str),
}

const fn member(name: &'static str, shape: Shape, default: Fallback) -> Member {
    Member { name, shape, default }
}

const PORT: Shape = Shape::Number(1, 65535);
const RANGE: Shape = Shape::Number(1024, 65535);

const SECTIONS: &[(&str, &[Member])] = &[
    (
        "credentials",
        &[
            member("dir", Shape::Text, Fallback::Nothing),
            member("passphrase", Shape::Text, Fallback::Nothing),
            member("use_keyring", Shape::Flag, Fallback::Flag(false)),
            member("passphrase_command", Shape::Text, Fallback::Nothing),
        ],
    ),
    (
        "shield",
        &[
            member("bypass_firewall_no_protection", Shape::Flag, Fallback::Flag(false)),
            member("profiles", Shape::Mapping, Fallback::Nothing),
            member("audit", Shape::Flag, Fallback::Flag(true)),
            member("drop_on_task_run", Shape::Flag, Fallback::Flag(true)),
            member("on_task_restart", Shape::OneOf(&["retain", "up"]), Fallback::Text("retain")),
        ],
    ),
    ("services", &[member("mode", Shape::OneOf(&["tcp", "socket"]), Fallback::Text("socket"))]),
    (
        "vault",
        &[
            member("bypass_no_secret_protection", Shape::Flag, Fallback::Flag(false)),
            member("port", PORT, Fallback::Nothing),
            member("ssh_signer_port", PORT, Fallback::Nothing),
        ],
    ),
    (
        "gate_server",
        &[
            member("port", PORT, Fallback::Nothing),
            member("repos_dir", Shape::Text, Fallback::Nothing),
            member("suppress_systemd_warning", Shape::Flag, Fallback::Flag(false)),
            member("push_limit_mib", Shape::Number(1, 1 << 20), Fallback::Number(2048)),
            member("references_per_push", Shape::Number(1, 10_000), Fallback::Number(10_000)),
            member("kept_tips", Shape::Number(1, 1_000_000), Fallback::Number(10_000)),
            member("git_memory_mib", Shape::Number(256, 1 << 20), Fallback::Number(512)),
        ],
    ),
    (
        "network",
        &[
            member("port_range_start", RANGE, Fallback::Number(18700)),
            member("port_range_end", RANGE, Fallback::Number(32700)),
        ],
    ),
    ("ssh", &[member("use_personal", Shape::Flag, Fallback::Nothing)]),
];

fn members(section: &str) -> &'static [Member] {
    let found = SECTIONS.iter().find(|(name, _)| *name == section);
    found.map_or(&[], |(_, members)| members)
}

/// The names of the sections described here.
pub fn names() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|(name, _)| *name)
}

/// Every member of `section` with its default.
pub fn defaults(section: &str) -> Map<String, Value> {
    members(section).iter().map(|m| (m.name.to_owned(), fallback(m.default))).collect()
}

fn fallback(default: Fallback) -> Value {
    match default {
        Fallback::Nothing => Value::Null,
        Fallback::Flag(flag) => json!(flag),
        Fallback::Number(number) => json!(number),
        Fallback::Text(text) => json!(text),
    }
}

/// Checks the raw members of `section` and fills in defaults.
///
/// # Errors
/// The first reason, without any value in it.
pub fn check(section: &str, raw: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut checked = defaults(section);
    for (key, value) in raw {
        let known = members(section).iter().find(|m| m.name == key);
        let known = known.ok_or_else(|| format!("unknown key `{}`", crate::text::sanitize_tty(key)))?;
        let value = convert(known.shape, value).map_err(|why| format!("`{key}` must be {why}"))?;
        checked.insert(key.clone(), value);
    }
    if section == "network" && checked["port_range_start"].as_i64() > checked["port_range_end"].as_i64() {
        return Err("port_range_start must be <= port_range_end".to_owned());
    }
    Ok(checked)
}

fn convert(shape: Shape, value: &Value) -> Result<Value, String> {
    let converted = match shape {
        Shape::Text => text(value).map(Value::from),
        Shape::Flag => flag(value).map(Value::from),
        Shape::Number(low, high) => number(value).filter(|n| (low..=high).contains(n)).map(Value::from),
        Shape::OneOf(choices) => value.as_str().filter(|text| choices.contains(text)).map(Value::from),
        Shape::Mapping => value.is_object().then(|| value.clone()),
    };
    converted.ok_or_else(|| match shape {
        Shape::Text => "a text".to_owned(),
        Shape::Flag => "true or false".to_owned(),
        Shape::Number(low, high) => format!("a whole number from {low} to {high}"),
        Shape::OneOf(choices) => format!("one of {}", choices.join(", ")),
        Shape::Mapping => "a mapping".to_owned(),
    })
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => match number.as_f64()? {
            1.0 => Some(true),
            0.0 => Some(false),
            _ => None,
        },
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "t" | "y" | "1" => Some(true),
            "false" | "no" | "off" | "f" | "n" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64()?;
            (float.fract() == 0.0 && float.abs() < 1e15).then_some(float as i64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The section of `config.yml`, checked, with defaults; a broken one leaves a notice and yields the defaults.
pub fn section(name: &str) -> Map<String, Value> {
    let ignored = |why: &str| {
        notice::leave(&format!("configuration section `{name}` is ignored, its defaults apply: {why}"));
        defaults(name)
    };
    match config::top_level(name) {
        None => defaults(name),
        Some(Value::Object(mut raw)) => {
            raw.retain(|_, value| !value.is_null());
            check(name, &raw).unwrap_or_else(|why| ignored(&why))
        }
        Some(other) => ignored(&format!("expected a mapping, found {}", crate::yaml::type_name(&other))),
    }
}

/// How containers reach the services of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP on the host's loopback.
    Tcp,
    /// Unix sockets mounted into the container.
    Socket,
}

/// `services.mode`.
pub fn services_mode() -> Transport {
    match section("services")["mode"].as_str() {
        Some("tcp") => Transport::Tcp,
        _ => Transport::Socket,
    }
}

/// Section `credentials`, as far as it opens the vault.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Passphrase in plain text.
    pub passphrase: Option<Secret>,
    /// Whether to ask the desktop's keyring.
    pub use_keyring: bool,
    /// Command that prints the passphrase.
    pub passphrase_command: Option<String>,
}

/// Reads section `credentials`.
pub fn credentials() -> Credentials {
    let section = section("credentials");
    let text = |key: &str| section[key].as_str().map(str::to_owned);
    Credentials {
        passphrase: text("passphrase").map(Secret::new),
        use_keyring: section["use_keyring"] == true,
        passphrase_command: text("passphrase_command"),
    }
}

/// Section `gate_server`, as far as it bounds what containers may have the gate do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateQuotas {
    /// Most MiB of one push.
    pub push_limit_mib: u64,
    /// Most references that one push changes.
    pub references_per_push: u64,
    /// Most old tips that a repository keeps.
    pub kept_tips: u64,
    /// MiB of memory for all git processes of one container together.
    pub git_memory_mib: u64,
}

/// Reads the quotas of section `gate_server`.
pub fn gate_quotas() -> GateQuotas {
    let section = section("gate_server");
    let number = |key: &str| section[key].as_u64().unwrap_or_default();
    GateQuotas {
        push_limit_mib: number("push_limit_mib"),
        references_per_push: number("references_per_push"),
        kept_tips: number("kept_tips"),
        git_memory_mib: number("git_memory_mib"),
    }
}

/// Top-level `experimental`; nothing but a real `true` counts.
pub fn experimental() -> bool {
    config::top_level("experimental") == Some(Value::Bool(true))
}

/// First and last port that may be given out. Each bound is forced into 1024–65535 and the last is never below the first;
/// a bound that is not a number is the default.
pub fn port_range() -> (u16, u16) {
    let section = config::section("network");
    let bound = |key: &str, default: i64| {
        let wanted = section.get(key).map_or(Some(default), number);
        let wanted = wanted.unwrap_or_else(|| {
            notice::leave(&format!("`network.{key}` is not a whole number, {default} applies"));
            default
        });
        wanted.clamp(1024, 65535) as u16
    };
    let start = bound("port_range_start", 18700);
    (start, bound("port_range_end", 32700).max(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_follow_the_table() {
        let table = include_str!("../../tests/fixtures/config/section_cases.json");
        for case in serde_json::from_str::<Vec<Value>>(table).unwrap() {
            let (section, raw) = (case["section"].as_str().unwrap(), case["raw"].as_object().unwrap());
            let checked = check(section, raw);
            match case.get("accepted") {
                Some(wanted) => {
                    let checked = checked.unwrap_or_else(|why| panic!("{case}: {why}"));
                    for (key, value) in wanted.as_object().unwrap() {
                        assert_eq!(&checked[key], value, "{case}");
                    }
                }
                None => {
                    let why = checked.expect_err(&case.to_string());
                    assert!(why.contains(case["reason"].as_str().unwrap()), "{why} for {case}");
                }
            }
        }
    }

    #[test]
    fn reasons_never_show_values() {
        for raw in [json!({"passphrase": ["hunter2"]}), json!({"use_keyring": "hunter2"})] {
            assert!(!check("credentials", raw.as_object().unwrap()).unwrap_err().contains("hunter2"));
        }
    }
}
