//! Remarks for the user that no caller can return: a broken configuration file, an outdated variable.
//!
//! Rooms do not print; they leave the remark here, and whoever owns the terminal takes it. Invariant: the same remark is
//! handed out once per process (until [`forget`]), so a loop that reads configuration does not flood the screen.

use std::collections::HashSet;
use std::sync::MutexGuard;

use crate::shared::Shared;

#[derive(Default)]
struct Board {
    waiting: Vec<String>,
    said: HashSet<String>,
}

static BOARD: Shared<Option<Board>> = Shared::new();

fn board() -> MutexGuard<'static, Option<Board>> {
    BOARD.lock()
}

/// Leaves a remark, unless the same text was left before. Terminal control characters are made visible.
pub fn leave(text: &str) {
    let text = crate::text::sanitize_tty(text);
    let mut guard = board();
    let board = guard.get_or_insert_with(Board::default);
    if board.said.insert(text.clone()) {
        tracing::warn!("{text}");
        board.waiting.push(text);
    }
}

/// As [`leave`], on behalf of a named part of the product, which is printed in front of the remark.
pub fn leave_for(part: &str, text: &str) {
    leave(&format!("[{part}] {text}"));
}

/// Part and text of a remark that [`leave_for`] left.
pub fn split(remark: &str) -> (Option<&str>, &str) {
    match remark.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((part, text)) => (Some(part), text),
        None => (None, remark),
    }
}

/// Takes the remarks left since the last call, oldest first.
pub fn take() -> Vec<String> {
    board().as_mut().map(|board| std::mem::take(&mut board.waiting)).unwrap_or_default()
}

/// Forgets what was said, so that it would be said again.
pub fn forget() {
    *board() = None;
}

/// Tests that look at this process's notices or cached files take turns.
#[cfg(test)]
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static TURN: Shared<()> = Shared::new();
    TURN.lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_is_handed_out_once() {
        let _alone = alone();
        leave("notice-test \u{1b}[2J");
        leave("notice-test \u{1b}[2J");
        let taken = take();
        let ours = taken.iter().filter(|text| text.starts_with("notice-test"));
        assert_eq!(ours.collect::<Vec<_>>(), ["notice-test \\x1b[2J"]);
        leave("notice-test \u{1b}[2J");
        assert!(!take().iter().any(|text| text.starts_with("notice-test")));
    }
}
