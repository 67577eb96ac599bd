//! Containers: their state, their life, their output.
//!
//! Queries give a neutral value when podman is missing, slow or fails, so that a poller keeps going; changes name what
//! went wrong. A name never stands where podman would read it as an option.

use std::path::Path;
use std::time::Duration;

use base::process::Output;
use serde::{Deserialize, Serialize};

use crate::call::{Call, Podman, Watch, clean_lines, failed};
use crate::fault::PodmanError;
use crate::size::leading_bytes;

/// Limit of a query.
pub const QUERY: Duration = Duration::from_secs(10);
const SIZE_QUERY: Duration = Duration::from_secs(60);
const ALL_SIZES_QUERY: Duration = Duration::from_secs(120);
const START: Duration = Duration::from_secs(30);
const REMOVE: Duration = Duration::from_secs(120);

/// What became of one container that was to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removal {
    /// The container.
    pub name: String,
    /// True when it does not exist any more.
    pub removed: bool,
    /// Why it still exists.
    pub error: Option<String>,
}

/// What `podman container inspect` tells about one container, as far as we ask.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspection {
    /// Full identifier.
    pub id: String,
    /// Time of creation, RFC 3339.
    #[serde(default)]
    pub created: String,
    /// Status block.
    pub state: InspectedState,
    /// Configuration block.
    #[serde(default)]
    pub config: InspectedConfig,
}

/// The `State` block of an inspection.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InspectedState {
    /// `created`, `running`, `exited`, …
    pub status: String,
    /// Exit status of the last run.
    #[serde(default)]
    pub exit_code: i32,
    /// True when the kernel killed it for memory.
    #[serde(default, rename = "OOMKilled")]
    pub oom_killed: bool,
}

/// The `Config` block of an inspection.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InspectedConfig {
    /// Annotations; null when there are none.
    pub annotations: Option<std::collections::BTreeMap<String, String>>,
}

impl Inspection {
    /// Time of creation in seconds since 1970; `None` when podman printed no such time.
    pub fn created_unix(&self) -> Option<i64> {
        unix_time(&self.created)
    }

    /// One annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.config.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

impl Podman {
    fn field(&self, name: &str, template: &str, limit: Duration) -> Option<String> {
        self.call("inspect", name, ["container", "inspect", "-f", template, name]).limit(limit).answer()
    }

    /// Lower-case status, for example `running`; `None` when there is no such container or no answer.
    pub fn state(&self, name: &str) -> Option<String> {
        self.field(name, "{{.State.Status}}", QUERY).map(|s| s.to_lowercase())
    }

    /// True when the container runs.
    pub fn running(&self, name: &str) -> bool {
        self.field(name, "{{.State.Running}}", QUERY).as_deref() == Some("true")
    }

    /// Identifier of the image that the container was made from.
    pub fn container_image(&self, name: &str) -> Option<String> {
        self.field(name, "{{.Image}}", QUERY)
    }

    /// Full identifier of the container.
    pub fn container_id(&self, name: &str) -> Option<String> {
        self.field(name, "{{.Id}}", QUERY)
    }

    /// Bytes in the container's writable layer.
    pub fn rw_size(&self, name: &str) -> Option<u64> {
        self.call("measure", name, ["container", "inspect", "--size", "-f", "{{.SizeRw}}", name])
            .limit(SIZE_QUERY)
            .answer()?
            .parse()
            .ok()
    }

    /// Everything we ask of an inspection at once; `None` when there is no such container.
    ///
    /// # Errors
    /// [`PodmanError`] when podman cannot be asked.
    pub fn inspect(&self, name: &str) -> Result<Option<Inspection>, PodmanError> {
        let output = self.call("inspect", name, ["container", "inspect", name]).limit(QUERY).output()?;
        if !output.ok() {
            let text = output.complaint().to_lowercase();
            return if text.contains("no such") { Ok(None) } else { Err(failed("inspect", name, &output)) };
        }
        let garbled = |found: String| PodmanError::Garbled { verb: "inspect", object: name.to_owned(), found };
        let mut all: Vec<Inspection> =
            serde_json::from_slice(&output.stdout).map_err(|e| garbled(format!("unusable JSON ({e})")))?;
        Ok(if all.is_empty() { None } else { Some(all.swap_remove(0)) })
    }

    /// Starts a container that exists.
    ///
    /// # Errors
    /// [`PodmanError`] naming podman's status and words.
    pub fn start(&self, name: &str) -> Result<(), PodmanError> {
        self.call("start", name, ["start", name]).limit(START).success().map(drop)
    }

    /// Lets a paused container go on.
    ///
    /// # Errors
    /// As [`Podman::start`].
    pub fn unpause(&self, name: &str) -> Result<(), PodmanError> {
        self.call("unpause", name, ["unpause", name]).limit(QUERY).success().map(drop)
    }

    /// Freezes every process of the container.
    ///
    /// # Errors
    /// As [`Podman::start`]; rootless on cgroup v1, podman has no freezer.
    pub fn pause(&self, name: &str) -> Result<(), PodmanError> {
        self.call("pause", name, ["pause", name]).limit(QUERY).success().map(drop)
    }

    /// Asks the container to end, and kills it after `seconds`.
    ///
    /// # Errors
    /// As [`Podman::start`].
    pub fn stop(&self, name: &str, seconds: u32) -> Result<(), PodmanError> {
        let time = seconds.to_string();
        self.call("stop", name, ["stop", "--time", &time, name])
            .limit(Duration::from_secs(u64::from(seconds) + 5))
            .success()
            .map(drop)
    }

    /// Waits for the end of the container; its exit status, whatever it is.
    ///
    /// # Errors
    /// [`PodmanError::TimedOut`] after `limit`, [`PodmanError::Failed`], [`PodmanError::Garbled`].
    pub fn wait(&self, name: &str, limit: Option<Duration>, watch: Option<Watch<'_>>) -> Result<i32, PodmanError> {
        let output = self.call("wait for", name, ["wait", name]).limit(limit).watch(watch).output()?;
        if !output.ok() {
            let complaint = match output.complaint() {
                text if text.is_empty() => "no output".to_owned(),
                text => clean_lines(&text),
            };
            let complaint = format!("returncode={}: {complaint}", output.code);
            return Err(PodmanError::Failed { verb: "wait for", object: name.into(), code: output.code, complaint });
        }
        output.text().trim().parse().map_err(|_| PodmanError::Garbled {
            verb: "wait for",
            object: name.into(),
            found: format!(
                "no exit status (stdout={:?}, stderr={:?})",
                output.text().trim(),
                String::from_utf8_lossy(&output.stderr).trim()
            ),
        })
    }

    /// The call that copies a file, or the content of a directory, into a container.
    pub fn copy_in(&self, name: &str, source: &Path, target: &str) -> Call<'static> {
        self.call("copy into", name, copy_in_args(name, source, target))
    }

    /// Runs a program in the container and captures its output; a non-zero status is a result.
    ///
    /// # Errors
    /// [`PodmanError`] when podman is missing or time runs out.
    pub fn exec(
        &self,
        name: &str,
        command: &[String],
        limit: Option<Duration>,
        watch: Option<Watch<'_>>,
    ) -> Result<Output, PodmanError> {
        let args = ["exec", name].into_iter().chain(command.iter().map(String::as_str));
        self.call("run a command in", name, args).limit(limit).watch(watch).output()
    }

    /// Kills and removes containers, in order; what cannot be removed is reported, never raised.
    pub fn force_remove(&self, names: &[String]) -> Vec<Removal> {
        names.iter().map(|name| self.remove_one(name)).collect()
    }

    fn remove_one(&self, name: &str) -> Removal {
        let output = self.call("remove", name, ["rm", "-f", name]).limit(REMOVE).output();
        let error = match output {
            Ok(output) if output.ok() => None,
            Ok(output) => match String::from_utf8_lossy(&output.stderr).trim() {
                "" => Some(format!("exit code {}", output.code)),
                text if text.to_lowercase().contains("no such container") => None,
                text => Some(clean_lines(text)),
            },
            Err(PodmanError::Missing { .. }) => Some("podman not found".into()),
            Err(PodmanError::TimedOut { seconds, .. }) => Some(format!("podman rm: timed out after {seconds} s")),
            Err(other) => Some(base::fault::explain(&other)),
        };
        Removal { name: name.to_owned(), removed: error.is_none(), error }
    }

    /// Names of all containers that begin with `prefix` and a dash.
    pub fn names_with_prefix(&self, prefix: &str) -> Vec<String> {
        let filter = prefix_filter(prefix);
        self.call("list", prefix, ["ps", "-a", "--filter", &filter, "--format", "{{.Names}}", "--no-trunc"])
            .limit(QUERY)
            .answer()
            .map(|text| text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect())
            .unwrap_or_default()
    }

    /// Status by name of all containers that begin with `prefix` and a dash.
    pub fn states_with_prefix(&self, prefix: &str) -> Vec<(String, String)> {
        let filter = prefix_filter(prefix);
        let args = ["ps", "-a", "--filter", &filter, "--format", "json", "--no-trunc"];
        let text = self.call("list", prefix, args).limit(QUERY).answer();
        text.map(|t| parse_states(&t)).unwrap_or_default()
    }

    /// Status by name of every container of this user, running or not.
    ///
    /// # Errors
    /// Every failure of podman: an empty answer must mean that there are none.
    pub fn states(&self) -> Result<Vec<(String, String)>, PodmanError> {
        let output = self.call("list", "all", ["ps", "-a", "--format", "json", "--no-trunc"]).limit(QUERY).success()?;
        Ok(parse_states(&output.text()))
    }

    /// Status by name of all containers that carry `label` (`key=value`), running or not.
    ///
    /// # Errors
    /// Every failure of podman: an empty answer must mean that there are none.
    pub fn states_with_label(&self, label: &str) -> Result<Vec<(String, String)>, PodmanError> {
        let filter = format!("label={label}");
        let args = ["ps", "-a", "--filter", &filter, "--format", "json", "--no-trunc"];
        let output = self.call("list", label, args).limit(QUERY).success()?;
        Ok(parse_states(&output.text()))
    }

    /// Bytes in the writable layers of all containers that begin with `prefix` and a dash.
    pub fn rw_sizes_with_prefix(&self, prefix: &str) -> Vec<(String, u64)> {
        let filter = prefix_filter(prefix);
        let format = "{{.Names}}\t{{.Size}}";
        let args = ["ps", "-a", "--size", "--filter", &filter, "--format", format, "--no-trunc"];
        let text = self.call("measure", prefix, args).limit(ALL_SIZES_QUERY).answer().unwrap_or_default();
        text.lines()
            .filter_map(|line| {
                let (name, size) = line.split_once('\t')?;
                Some((name.trim().to_owned(), leading_bytes(size)?))
            })
            .collect()
    }
}

/// Arguments of `podman cp` into a container; a directory gives its content, added to what is there.
pub fn copy_in_args(name: &str, source: &Path, target: &str) -> Vec<String> {
    let mut from = source.to_string_lossy().into_owned();
    if source.is_dir() {
        from = format!("{}/.", from.trim_end_matches('/'));
    }
    if from.starts_with('-') {
        from = format!("./{from}");
    }
    vec!["cp".into(), from, format!("{name}:{target}")]
}

/// Seconds since 1970 of an RFC 3339 time; fractions are dropped.
fn unix_time(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let zone = text.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone.as_bytes() {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), ..] => {
            let part = |range: std::ops::Range<usize>| zone.get(range)?.parse::<i64>().ok();
            let seconds = part(1..3)? * 3600 + part(4..6)? * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    // Days since the epoch in the proleptic Gregorian calendar, with years that begin in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 719_469;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

/// The filter for names that begin with `prefix` and a dash; the prefix is text, not a pattern.
fn prefix_filter(prefix: &str) -> String {
    let mut pattern = String::from("name=^");
    for c in prefix.chars() {
        if !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-') && c.is_ascii() {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "-"
}

/// Names and lower-case states from `ps --format json`; a row that cannot be read is left out.
fn parse_states(text: &str) -> Vec<(String, String)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Row {
        names: Vec<String>,
        state: String,
    }
    let rows: Vec<serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
    rows.into_iter()
        .filter_map(|row| serde_json::from_value::<Row>(row).ok())
        .filter_map(|row| Some((row.names.into_iter().next()?, row.state.to_lowercase())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_text() {
        assert_eq!(prefix_filter("a.b-c_1"), r"name=^a\.b-c_1-");
        assert_eq!(prefix_filter("x(y"), r"name=^x\(y-");
    }

    #[test]
    fn states_of_old_and_new_podman_are_the_same() {
        let old = r#"[{"Names":["a-x"],"State":"running","Status":"Up 3 weeks ago"},{"Names":["a-b-x"],"State":"exited"},{"Names":null},7]"#;
        let new = r#"[{"Names":["a-x"],"State":"Running","Pid":7},{"Names":["a-b-x"],"State":"exited","ExitCode":0}]"#;
        let expected = vec![("a-x".to_owned(), "running".to_owned()), ("a-b-x".to_owned(), "exited".to_owned())];
        assert_eq!(parse_states(old), expected);
        assert_eq!(parse_states(new), expected);
        assert!(parse_states("no json").is_empty());
    }

    #[test]
    fn times_of_creation() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-22T04:57:18.57802392Z", Some(1_795_323_438)),
            ("2026-11-22T05:57:18.5+01:00", Some(1_795_323_438)),
            ("2024-02-29T23:59:59-00:30", Some(1_709_252_999)),
            ("2026-11-22T04:57", None),
            ("", None),
        ] {
            assert_eq!(unix_time(text), expected, "{text}");
        }
    }

    #[test]
    fn copy_arguments() {
        assert_eq!(copy_in_args("c", Path::new("/tmp"), "/d"), ["cp", "/tmp/.", "c:/d"]);
        assert_eq!(copy_in_args("c", Path::new("-f"), "/d"), ["cp", "./-f", "c:/d"]);
    }
}
