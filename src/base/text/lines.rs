//! Cuts a hostile stream into lines without letting one line fill the memory.
//!
//! Invariant: at most the limit is kept of a line; the rest of it is dropped.

/// Most bytes of one line: records of agents hold whole files.
pub const MAX_RECORD: usize = 16 * 1024 * 1024;

/// A splitter; lines come without their ends, and bytes that are no UTF-8 as replacement characters.
#[derive(Debug, Clone)]
pub struct Lines {
    limit: usize,
    pending: Vec<u8>,
}

impl Default for Lines {
    fn default() -> Self {
        Self { limit: MAX_RECORD, pending: Vec::new() }
    }
}

impl Lines {
    /// Takes the next piece; returns the lines that are complete now.
    pub fn feed(&mut self, piece: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.keep(&rest[..end]);
            lines.push(self.take());
            rest = &rest[end + 1..];
        }
        self.keep(rest);
        lines
    }

    /// Ends the stream; returns a last line that has no end.
    pub fn finish(&mut self) -> Option<String> {
        (!self.pending.is_empty()).then(|| self.take())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.pending.len());
        self.pending.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.pending);
        String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_whatever_the_pieces() {
        let mut lines = Lines::default();
        assert_eq!(lines.feed(b"a\nb\r\n\nc"), ["a", "b", ""]);
        assert_eq!(lines.feed("é\n\u{fffd}".as_bytes()), ["cé"]);
        assert_eq!(lines.feed(b"\xff"), Vec::<String>::new());
        assert_eq!(lines.finish().as_deref(), Some("\u{fffd}\u{fffd}"));
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn memory_is_bounded_when_a_line_does_not_end() {
        let mut lines = Lines { limit: 10, pending: Vec::new() };
        (0..100).for_each(|_| assert!(lines.feed(b"123").is_empty()));
        assert_eq!(lines.feed(b"\nnext\n"), ["1231231231", "next"]);
    }
}
