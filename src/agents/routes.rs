//! The broker's route table, made from the roster.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use wire::route::{OauthRefresh, Route, RouteTable};

use crate::fault::AgentError;
use crate::model::Roster;

/// All routes, keyed by provider, in roster order.
///
/// # Errors
/// [`AgentError::RoutePrefix`] when two providers claim one prefix.
pub fn table(roster: &Roster) -> Result<RouteTable, AgentError> {
    let mut table = RouteTable::new();
    let mut prefixes: Vec<(&str, &str)> = Vec::new();
    for (name, route) in &roster.vault_routes {
        if let Some((_, first)) = prefixes.iter().find(|(prefix, _)| *prefix == route.route_prefix) {
            return Err(AgentError::RoutePrefix {
                prefix: route.route_prefix.clone(),
                first: (*first).to_owned(),
                second: name.clone(),
            });
        }
        prefixes.push((&route.route_prefix, name));
        let refresh = route.oauth_refresh.as_ref().map(|fields| OauthRefresh {
            token_url: fields.get("token_url").cloned().unwrap_or_default(),
            client_id: fields.get("client_id").cloned().unwrap_or_default(),
            scope: fields.get("scope").cloned(),
            client_secret: None,
        });
        let entry = Route {
            upstream: route.upstream.clone(),
            auth_header: route.auth_header.clone(),
            auth_prefix: route.auth_prefix.clone(),
            path_upstreams: route.path_upstreams.clone(),
            oauth_extra_headers: route.oauth_extra_headers.clone(),
            deny: route.deny.clone(),
            oauth_refresh: refresh,
        };
        table.insert(name.clone(), entry);
    }
    Ok(table)
}

/// True when a plain, private file at `path` has exactly this content.
pub fn holds(path: &Path, content: &[u8]) -> bool {
    let private = std::fs::symlink_metadata(path).is_ok_and(|meta| {
        meta.is_file() && meta.permissions().mode() & 0o777 == base::file::PRIVATE && meta.len() == content.len() as u64
    });
    private && base::file::read_regular(path, content.len() as u64).is_ok_and(|found| found == content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::{Source, Strictness, bundled, load};
    use wire::denial::{self, Denial};

    #[test]
    fn bundled_routes_are_readable_by_the_broker() {
        let roster = load(&bundled(), &[], Strictness::Strict, &mut Vec::new()).unwrap();
        let text = wire::route::to_json(&table(&roster).unwrap());
        assert_eq!(wire::route::parse(text.as_bytes()).unwrap().len(), 10);
        assert!(text.starts_with("{\n  \"blablador\": {\n    \"upstream\"") && text.ends_with("}\n"));
        assert_eq!(text.matches("\"auth_prefix\": \"\"").count(), 2);
    }

    // holds: credential-endpoints-denied
    #[test]
    fn bundled_routes_deny_the_vendors_credential_endpoints() {
        let cases: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/broker/denied.json")).unwrap();
        let roster = load(&bundled(), &[], Strictness::Strict, &mut Vec::new()).unwrap();
        for (provider, route) in table(&roster).unwrap() {
            let denials: Vec<Denial> = route.deny.iter().map(|text| Denial::parse(text).unwrap()).collect();
            for (kind, expected) in [("denied", true), ("allowed", false)] {
                let requests = cases[&provider][kind].as_array();
                for request in requests.unwrap_or_else(|| panic!("no {kind} case of {provider}")) {
                    let (method, target) = request.as_str().unwrap().split_once(' ').unwrap();
                    let readings = denial::readings(target.split('?').next().unwrap());
                    let found = denials.iter().any(|denial| denial.covers(method, &readings));
                    assert_eq!(found, expected, "{provider}: {request}");
                }
            }
        }
    }

    // holds: credential-endpoints-denied
    #[test]
    fn user_entry_adds_to_the_denied_endpoints_and_takes_none_away() {
        for (text, added) in [
            ("vault: {upstream: 'https://h'}", 0),
            ("vault: {deny: [/v1/mine]}", 1),
            ("vault: {deny: [_inherit, /v1/mine, /v1/oauth]}", 1),
            ("vault: {deny: []}", 0),
            ("vault: {deny: ~}", 0),
        ] {
            let user = Source { name: "claude".into(), origin: "claude.yaml".into(), text: text.into() };
            let plain = load(&bundled(), &[], Strictness::Strict, &mut Vec::new()).unwrap();
            let roster = load(&bundled(), &[user], Strictness::Strict, &mut Vec::new()).unwrap();
            let (before, after) = (&plain.vault_routes["claude"].deny, &roster.vault_routes["claude"].deny);
            assert!(
                before.iter().all(|denial| after.contains(denial)) && after.len() == before.len() + added,
                "{text}"
            );
        }
        let broken = Source { name: "claude".into(), origin: "x".into(), text: "vault: {deny: [keys]}".into() };
        let error = load(&bundled(), &[broken], Strictness::Strict, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("vault.deny") && error.contains("`keys`"), "{error}");
    }

    #[test]
    fn only_an_equal_private_file_holds_the_table() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("routes.json");
        assert!(!holds(&path, b"{}"));
        base::file::write_private(&path, b"{}").unwrap();
        assert!(holds(&path, b"{}") && !holds(&path, b"[]") && !holds(&path, b"{} "));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(!holds(&path, b"{}"), "a table that others may read is written anew");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(!holds(&link, b"{}"));
    }

    #[test]
    fn one_prefix_has_one_owner() {
        let twin = Source {
            name: "twin".into(),
            origin: "twin.yaml".into(),
            text: "vault: {route_prefix: claude, upstream: 'https://h'}".into(),
        };
        let roster = load(&bundled(), &[twin], Strictness::Strict, &mut Vec::new()).unwrap();
        let error = table(&roster).unwrap_err().to_string();
        assert!(error.contains("`claude`") && error.contains("`twin`"), "{error}");
    }
}
