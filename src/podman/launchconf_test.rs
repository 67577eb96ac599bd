//! Which of a site's settings reach a launch, and how several files become one.

use super::*;

fn conf(files: &[(&str, &str)]) -> LaunchConf {
    let dir = tempfile::tempdir().unwrap();
    let mut usual = Vec::new();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        usual.push(path);
    }
    let own = usual[0].clone();
    LaunchConf::read(&ConfFiles { usual, own, alone: None, last: None }).unwrap()
}

fn effect(conf: &LaunchConf, key: &str) -> Option<Effect> {
    conf.settings().iter().find(|setting| setting.key == key).map(|setting| setting.effect)
}

fn parsed(conf: &LaunchConf) -> DocumentMut {
    conf.text().parse().unwrap()
}

// holds: site-settings
#[test]
fn no_containers_setting_of_a_site_is_taken_over_but_the_harmless_ones() {
    // Every key in the manuals of podman 4.3 and 5.8, with a value that would change a container.
    let table = include_str!("../../tests/fixtures/sandbox/site_settings.json");
    let rows: Vec<(String, String)> = serde_json::from_str(table).unwrap();
    let lines =
        rows.iter().filter_map(|(key, value)| Some(format!("{} = {value}\n", key.strip_prefix("containers.")?)));
    let site = lines.fold("[containers]\n".to_owned(), |site, line| site + &line);
    let conf = conf(&[("site.conf", &site)]);
    let made = parsed(&conf);
    let theirs: DocumentMut = site.parse().unwrap();
    assert!(rows.len() > 40);
    for (key, value) in theirs["containers"].as_table().unwrap().iter() {
        let taken = made["containers"].get(key).is_some_and(|own| own.to_string().trim() == value.to_string().trim());
        let harmless = KEPT.contains(&key) && key != "apparmor_profile";
        assert_eq!(taken, harmless, "{key}");
        let expected = if harmless { Effect::TakesPart } else { Effect::Ignored };
        assert_eq!(effect(&conf, &format!("containers.{key}")), Some(expected), "{key}");
    }
}

#[test]
fn engine_settings_of_the_site_stay() {
    let conf = conf(&[
        ("a", "[engine]\nruntime = \"runc\" # slow\nruntimes = {crun = [\"/a\"]}\n[secrets]\ndriver = \"file\"\n"),
        ("b", "[engine]\nruntime = \"crun\"\nevents_logger = \"file\"\n[engine.runtimes]\nkata = [\"/k\"]\n"),
    ]);
    let made = parsed(&conf);
    assert_eq!(made["engine"]["runtime"].as_str(), Some("crun"));
    assert_eq!(made["engine"]["events_logger"].as_str(), Some("file"));
    assert_eq!(made["engine"]["runtimes"]["crun"][0].as_str(), Some("/a"));
    assert_eq!(made["engine"]["runtimes"]["kata"][0].as_str(), Some("/k"));
    assert_eq!(made["secrets"]["driver"].as_str(), Some("file"));
    assert_eq!(effect(&conf, "engine.runtime"), Some(Effect::TakesPart));
    assert_eq!(effect(&conf, "engine.events_logger"), None);
    assert!(conf.settings().iter().any(|s| s.key == "engine.runtime" && s.file.ends_with("b")));
}

#[test]
fn lists_are_replaced_or_extended_as_podman_does() {
    let list = |texts: &[&str]| {
        let files: Vec<_> =
            texts.iter().enumerate().map(|(i, t)| (format!("f{i}"), format!("[engine]\n{t}\n"))).collect();
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let item = parsed(&conf(&files))["engine"]["hooks_dir"].clone();
        item.as_array().unwrap().iter().map(|v| v.as_str().unwrap_or("+").to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(list(&["hooks_dir = ['/a']", "hooks_dir = ['/b']"]), "/b");
    assert_eq!(list(&["hooks_dir = ['/a']", "hooks_dir = ['/b', {append=true}]", "hooks_dir = ['/c']"]), "/a /b /c");
    assert_eq!(list(&["hooks_dir = ['/a', {append=true}]"]), "/a +");
    assert_eq!(list(&["hooks_dir = ['/a', {append=true}]", "hooks_dir = ['/b', {append=false}]"]), "/b");
}

#[test]
fn network_options_lose_what_opens_the_hosts_loopback() {
    let conf = conf(&[(
        "a",
        "[engine]\nnetwork_cmd_options = ['mtu=1400', 'allow_host_loopback=true']\n[network]\npasta_options = ['--mtu', \
         '1400', '-T', 'auto', '--map-gw', '-4', '--tcp-ns=22', '--map-host-loopback', '10.0.0.1', '-i', 'eth0']\n",
    )]);
    let made = parsed(&conf);
    let list = |table: &str, key: &str| strings(made[table][key].as_array().unwrap()).unwrap().0.join(" ");
    assert_eq!(list("engine", "network_cmd_options"), "mtu=1400");
    assert_eq!(list("network", "pasta_options"), "--mtu 1400 -4 -i eth0");
    assert_eq!(effect(&conf, "network.pasta_options"), Some(Effect::WeakensRestart));
    assert_eq!(effect(&conf, "engine.network_cmd_options"), Some(Effect::Ignored));
}

#[test]
fn what_cannot_be_taken_out_is_named_as_weakening() {
    let conf = conf(&[("a", "[engine]\nno_pivot_root = true\n")]);
    assert_eq!(effect(&conf, "engine.no_pivot_root"), Some(Effect::Weakens));
}

#[test]
fn a_file_is_written_once_and_private() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("podman/containers.conf");
    let conf = conf(&[("a", "")]);
    conf.write(&path).unwrap();
    let before = std::fs::metadata(&path).unwrap();
    assert_eq!(before.permissions().mode() & 0o777, 0o600);
    conf.write(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), before.ino());
}

#[test]
fn files_that_podman_refuses_are_faults() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("containers.conf");
    for bad in ["[engine", "engine = 7\n"] {
        std::fs::write(&path, bad).unwrap();
        let fault = LaunchConf::read(&ConfFiles::only(&path)).unwrap_err();
        assert!(base::fault::explain(&fault).contains("containers.conf"), "{bad}");
    }
}
