//! Who is at the other end, as a log names it.
//!
//! A process chooses its own name, so it is cut and cleaned before it gets near a log line.

use tokio::net::UnixStream;

const LONGEST_NAME: usize = 64;

/// Process, user and name behind a Unix connection; what cannot be learnt is a question mark.
pub fn of_unix(stream: &UnixStream) -> String {
    let Ok(cred) = stream.peer_cred() else {
        return "pid=? uid=? gid=? name=?".to_owned();
    };
    // 0 stands for a process outside our pid namespace.
    let pid = cred.pid().filter(|pid| *pid > 0);
    let name = pid.and_then(|pid| std::fs::read(format!("/proc/{pid}/comm")).ok());
    let name = name.map_or_else(|| "?".to_owned(), |raw| clean(&raw));
    let pid = pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
    format!("pid={pid} uid={} gid={} name={name}", cred.uid(), cred.gid())
}

fn clean(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    base::text::sanitize_tty(text.trim_end_matches('\n')).chars().take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_forge_log_lines() {
        assert_eq!(clean(b"ssh\n"), "ssh");
        assert_eq!(clean(b"a\nb\x1b[2Jc"), "a b\\x1b[2Jc");
        assert_eq!(clean(&[b'x'; 500]).len(), LONGEST_NAME);
        assert!(!clean(&[0xff, b'\r']).contains('\r'));
    }

    #[tokio::test]
    async fn the_peer_is_named() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let text = of_unix(&ours);
        let start = format!("pid={} uid={} ", std::process::id(), rustix_uid());
        assert!(text.starts_with(&start), "{text}");
    }

    fn rustix_uid() -> u32 {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata("/proc/self").unwrap().uid()
    }
}
