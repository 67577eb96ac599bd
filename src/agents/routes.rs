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

    #[test]
    fn bundled_routes_are_readable_by_the_broker() {
        let roster = load(&bundled(), &[], Strictness::Strict, &mut Vec::new()).unwrap();
        let text = wire::route::to_json(&table(&roster).unwrap());
        assert_eq!(wire::route::parse(text.as_bytes()).unwrap().len(), 10);
        assert!(text.starts_with("{\n  \"blablador\": {\n    \"upstream\"") && text.ends_with("}\n"));
        assert_eq!(text.matches("\"auth_prefix\": \"\"").count(), 2);
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
