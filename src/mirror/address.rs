//! Addresses of upstreams: which of them mean SSH, which are refused, and how a password in one is kept out of argv.

use crate::fault::MirrorError;
use crate::git::Git;

/// The remote that every command of ours talks to; it exists in the command's own settings only.
pub const REMOTE: &str = "terok-upstream";

/// Answers git's question for a login from the environment, so that no command line ever holds a password.
const HELPER: &str = r#"!printf 'username=%s\npassword=%s\n' "$TEROK_UPSTREAM_USER" "$TEROK_UPSTREAM_PASSWORD"; :"#;

/// True when git would reach this address over SSH: `ssh://…` or `[user@]host:path`.
pub fn is_ssh(address: &str) -> bool {
    let address = address.trim();
    if address.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("ssh://")) {
        return true;
    }
    if address.contains("://") {
        return false;
    }
    let Some((host, path)) = address.split_once(':') else { return false };
    // One character before the colon is a drive's letter; a user's name counts to the host here.
    let plain = !host.contains(|c: char| c == '/' || c.is_whitespace()) && host.chars().count() >= 2;
    plain && !path.is_empty() && !path.starts_with('\n')
}

/// An address that may be handed to git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    plain: String,
    login: Option<(String, String)>,
}

impl Address {
    /// Judges an address; surrounding blanks are dropped.
    ///
    /// # Errors
    /// [`MirrorError::Address`] for what git would take as an option, a remote helper or several lines.
    pub fn parse(text: &str) -> Result<Self, MirrorError> {
        let text = text.trim();
        let refuse = |why| {
            let address = base::text::sanitize_tty(&base::text::redact_userinfo(text));
            Err(MirrorError::Address { address, why })
        };
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.contains(char::is_control) {
            return refuse("it contains control characters");
        }
        if text.starts_with('-') {
            return refuse("it looks like an option");
        }
        let helper = text.split("::").next().filter(|head| head.len() < text.len());
        if helper.is_some_and(|head| !head.is_empty() && head.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')) {
            return refuse("it names a remote helper");
        }
        let host = text.split_once("://").map_or(text, |(_, rest)| rest);
        let host = host.split(['/', ':']).next().unwrap_or_default();
        if host.starts_with('-') || host.rsplit('@').next().is_some_and(|host| host.starts_with('-')) {
            return refuse("its host looks like an option");
        }
        let (plain, login) = separate(text);
        Ok(Self { plain, login })
    }

    /// The address without a password.
    pub fn plain(&self) -> &str {
        &self.plain
    }

    /// True for SSH.
    pub fn is_ssh(&self) -> bool {
        is_ssh(&self.plain)
    }

    /// Gives a command the remote [`REMOTE`] with this address.
    ///
    /// The address travels in the environment: command lines are visible to every user of the machine. A password goes
    /// through a credential helper, because git puts the address into the command line of its own transport.
    pub fn hand_to(&self, git: Git) -> Git {
        let git = git.setting(format!("remote.{REMOTE}.url"), self.plain.as_str());
        let Some((user, password)) = &self.login else { return git };
        git.setting("credential.helper", "")
            .setting("credential.helper", HELPER)
            .variable("TEROK_UPSTREAM_USER", user)
            .variable("TEROK_UPSTREAM_PASSWORD", password)
    }
}

/// Takes `user:password@` out of a web address.
fn separate(text: &str) -> (String, Option<(String, String)>) {
    let whole = (text.to_owned(), None);
    let Some((scheme, rest)) = text.split_once("://") else { return whole };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return whole;
    }
    let authority = rest.find('/').map_or(rest, |end| &rest[..end]);
    let Some(at) = authority.rfind('@') else { return whole };
    let (user, password) = authority[..at].split_once(':').unwrap_or((&authority[..at], ""));
    let (Some(user), Some(password)) = (decode(user), decode(password)) else { return whole };
    (format!("{scheme}://{}", &rest[at + 1..]), Some((user, password)))
}

/// Percent-decodes; `None` when it is no text without line breaks afterwards.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let pair = (*first == b'%').then(|| tail.get(..2)).flatten();
        let value = pair.and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        bytes.push(value.unwrap_or(*first));
        rest = if value.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains(['\n', '\r', '\0']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_the_table_is_told_apart() {
        let table = include_str!("../../tests/fixtures/mirror/ssh_urls.tsv");
        let rows: Vec<_> = table.lines().filter_map(|line| line.split_once('\t')).collect();
        assert!(rows.len() > 20);
        for (wanted, address) in rows {
            assert_eq!(is_ssh(&address.replace("\\t", "\t")), wanted == "ssh", "{address}");
        }
    }

    // improves: 22-M8-option-guard
    #[test]
    fn addresses_that_git_would_misread_are_refused() {
        let options = ["", "  ", "-x", "--upload-pack=touch /tmp/x", "ssh://-oProxyCommand=x/y", "-oProxyCommand=x:y"];
        let others = ["ext::sh -c x", "fd::17", "a\nb", "https://h/\x1b[2J", "ssh://user@-oProxyCommand=x/y"];
        for bad in options.into_iter().chain(others) {
            assert!(matches!(Address::parse(bad), Err(MirrorError::Address { .. })), "{bad}");
        }
        for good in ["git@h.org:a.git", "https://[::1]/x", "file:///a", "/srv/a:b", "./a", "ssh://h:22/x", "git@h:x::y"]
        {
            assert_eq!(Address::parse(good).unwrap().plain(), good);
        }
    }

    #[test]
    fn a_password_leaves_the_address() {
        let address = Address::parse("https://me:p%40ss@h.org:8443/x.git").unwrap();
        assert_eq!(address.plain(), "https://h.org:8443/x.git");
        assert_eq!(address.login, Some(("me".into(), "p@ss".into())));
        let error = Address::parse("--x https://me:secret@h/x").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        assert_eq!(Address::parse("ssh://git@h/x").unwrap().login, None);
        assert_eq!(Address::parse("https://h/a@b").unwrap().plain(), "https://h/a@b");
    }

    #[test]
    fn a_password_with_shell_signs_arrives_as_it_is() {
        let address = Address::parse("https://u'$(x):a%20%22b%27;c@h/x").unwrap();
        let git = address.hand_to(Git::new(["credential", "fill"])).input("protocol=https\nhost=h\n\n");
        let answer = git.run().unwrap().text();
        assert!(answer.contains("username=u'$(x)\n") && answer.contains("password=a \"b';c\n"), "{answer}");
    }
}
