//! The head of a push: the references it wants to change, read from the stream before the pack, and judged.
//!
//! Invariants: at most [`LONGEST_HEAD`] bytes are kept; nothing of the pack is looked at; what git is given afterwards
//! are the very bytes that were judged. Signed pushes are not offered, and refused when sent. Push options follow the
//! head; git reads them, and nothing acts on them.

use std::collections::HashSet;

use bytes::BytesMut;

use crate::pkt::{self, Frame};
use crate::reference::{self, is_object_id};

/// Most bytes that the list of changes may have.
pub const LONGEST_HEAD: usize = 2 * 1024 * 1024;
/// Longest piece of one side-band frame.
const BAND: usize = 65515;

/// One change of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What the reference is thought to be; zeros when it is to be created.
    pub old: String,
    /// What it shall be; zeros when it is to be deleted.
    pub new: String,
    /// Its full name, as sent.
    pub name: Vec<u8>,
}

impl Change {
    /// True when the reference must not exist before.
    pub fn creates(&self) -> bool {
        is_zero(&self.old)
    }

    /// True when the reference shall be gone.
    pub fn deletes(&self) -> bool {
        is_zero(&self.new)
    }
}

fn is_zero(id: &str) -> bool {
    id.bytes().all(|b| b == b'0')
}

/// Why the head of a push is refused as a whole, without naming a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// No pkt-lines.
    #[error(transparent)]
    Malformed(#[from] pkt::Malformed),
    /// A line is no change of a reference.
    #[error("a line of the push is not understood")]
    Line,
    /// More than we keep.
    #[error("the push changes too many references at once")]
    TooLong,
    /// More references than may be changed at once.
    #[error("the push changes too many references at once")]
    TooMany,
    /// Not offered by us.
    #[error("signed pushes are not supported")]
    Signed,
}

/// Reads the head of a push piece by piece.
#[derive(Debug)]
pub struct HeadReader {
    bytes: BytesMut,
    at: usize,
    head: Head,
    most: usize,
}

/// The head of a push.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The changes, in the order they were sent.
    pub changes: Vec<Change>,
    /// The client reads a report.
    report: bool,
    /// The client reads side bands.
    bands: bool,
}

impl HeadReader {
    /// Nothing read yet; the push may change `most` references.
    pub fn new(most: usize) -> Self {
        Self { bytes: BytesMut::new(), at: 0, head: Head::default(), most }
    }

    /// Takes more bytes; true when the head is complete.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn feed(&mut self, piece: &[u8]) -> Result<bool, HeadError> {
        self.bytes.extend_from_slice(piece);
        while let Some((frame, next)) = pkt::next(&self.bytes, self.at)? {
            self.at = next;
            match frame {
                Frame::Flush if self.head.changes.len() > self.most => return Err(HeadError::TooMany),
                Frame::Flush => return Ok(true),
                Frame::Data(_) if self.head.changes.len() > self.most => return Err(HeadError::TooMany),
                Frame::Data(range) if next <= LONGEST_HEAD => self.head.take(&self.bytes[range])?,
                Frame::Data(_) => return Err(HeadError::TooLong),
                Frame::Delimiter | Frame::End => return Err(HeadError::Line),
            }
        }
        if self.bytes.len() > LONGEST_HEAD { Err(HeadError::TooLong) } else { Ok(false) }
    }

    /// The head, and all bytes taken so far, of which the last ones may belong to the pack.
    pub fn finish(self) -> (Head, BytesMut) {
        (self.head, self.bytes)
    }

    /// True when nothing but the end of the list has come: git asks whether it would be let in.
    pub fn is_probe(&self) -> bool {
        &self.bytes[..] == pkt::FLUSH
    }
}

impl Head {
    fn take(&mut self, line: &[u8]) -> Result<(), HeadError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if let Some(id) = line.strip_prefix(b"shallow ") {
            return if std::str::from_utf8(id).is_ok_and(is_object_id) { Ok(()) } else { Err(HeadError::Line) };
        }
        let mut halves = line.splitn(2, |b| *b == 0);
        let (command, capabilities) = (halves.next().unwrap_or_default(), halves.next());
        if command.starts_with(b"push-cert") {
            return Err(HeadError::Signed);
        }
        if let Some(capabilities) = capabilities {
            self.settle(capabilities);
        }
        self.changes.push(change(command).ok_or(HeadError::Line)?);
        Ok(())
    }

    fn settle(&mut self, capabilities: &[u8]) {
        for word in capabilities.split(|b| *b == b' ') {
            match word {
                b"report-status" | b"report-status-v2" => self.report = true,
                b"side-band-64k" => self.bands = true,
                _ => {}
            }
        }
    }

    /// `None` when every change may be tried; else one reason per change, as the push is all or nothing.
    pub fn verdict(&self) -> Option<Vec<String>> {
        let mut seen = HashSet::new();
        let broken: Vec<Option<&str>> = self.changes.iter().map(|c| objection(c, &mut seen)).collect();
        broken.iter().any(Option::is_some).then(|| {
            let reason = |rule: Option<&str>| rule.unwrap_or("another reference of this push is refused").to_owned();
            broken.into_iter().map(reason).collect()
        })
    }

    /// The answer that refuses the push for one cause; `None` for a client that reads no report.
    pub fn failure(&self, cause: &str) -> Option<Vec<u8>> {
        let told = self.report.then(|| {
            let mut report = Vec::new();
            pkt::push(&mut report, format!("unpack {cause}\n").as_bytes());
            for change in &self.changes {
                push_refused(&mut report, change, "the push is refused as a whole");
            }
            report
        })?;
        Some(self.banded(told))
    }

    /// A line for people, ahead of git's own answer; empty for a client that reads no side bands.
    pub fn remark(&self, text: &str) -> Vec<u8> {
        let mut frame = Vec::new();
        if self.bands {
            pkt::push(&mut frame, &[b"\x02", text.as_bytes(), b"\n"].concat());
        }
        frame
    }

    /// The answer that refuses every change for its reason; `None` for a client that reads no report.
    pub fn refusal(&self, reasons: &[String]) -> Option<Vec<u8>> {
        if !self.report {
            return None;
        }
        let mut report = Vec::new();
        pkt::push(&mut report, b"unpack ok\n");
        for (change, reason) in self.changes.iter().zip(reasons) {
            push_refused(&mut report, change, reason);
        }
        Some(self.banded(report))
    }

    /// Ends a report, and packs it into the side bands that the client wants.
    fn banded(&self, mut report: Vec<u8>) -> Vec<u8> {
        report.extend_from_slice(pkt::FLUSH);
        if !self.bands {
            return report;
        }
        let mut banded = Vec::with_capacity(report.len() + 64);
        for piece in report.chunks(BAND) {
            let mut frame = vec![1];
            frame.extend_from_slice(piece);
            pkt::push(&mut banded, &frame);
        }
        banded.extend_from_slice(pkt::FLUSH);
        banded
    }
}

fn push_refused(report: &mut Vec<u8>, change: &Change, reason: &str) {
    let mut line = b"ng ".to_vec();
    line.extend_from_slice(&change.name);
    line.extend_from_slice(format!(" {reason}\n").as_bytes());
    // A name that fits into a frame with two ids also fits into this one, unless the reason is a novel.
    line.truncate(pkt::LONGEST - 4);
    pkt::push(report, &line);
}

fn change(command: &[u8]) -> Option<Change> {
    let mut words = command.splitn(3, |b| *b == b' ');
    let mut id = || words.next().and_then(|w| std::str::from_utf8(w).ok()).filter(|w| is_object_id(w));
    let (old, new) = (id()?.to_owned(), id()?.to_owned());
    let name = words.next().filter(|name| !name.is_empty() && !name.contains(&b'\n'))?.to_owned();
    (old.len() == new.len()).then_some(Change { old, new, name })
}

fn objection<'a>(change: &'a Change, seen: &mut HashSet<&'a [u8]>) -> Option<&'static str> {
    if !seen.insert(&change.name) {
        return Some("the push names this reference twice");
    }
    reference::check(&change.name).err()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "1111111111111111111111111111111111111111";
    const MANY: usize = 1000;
    const Z: &str = "0000000000000000000000000000000000000000";

    fn head(lines: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines {
            pkt::push(&mut out, line);
        }
        out.extend_from_slice(pkt::FLUSH);
        out
    }

    fn read(bytes: &[u8]) -> Result<Head, HeadError> {
        let mut reader = HeadReader::new(MANY);
        assert!(reader.feed(bytes)?, "the head is complete");
        Ok(reader.finish().0)
    }

    fn line(name: &str, capabilities: &str) -> Vec<u8> {
        format!("{Z} {A} {name}\0{capabilities}").into_bytes()
    }

    #[test]
    fn changes_are_read_in_any_pieces_and_the_pack_is_kept() {
        let mut bytes = head(&[&line("refs/heads/a", " report-status side-band-64k atomic"), b"shallow "]);
        assert_eq!(read(&bytes), Err(HeadError::Line));
        let shallow = format!("shallow {A}\n");
        let delete = format!("{A} {Z} refs/tags/t\n");
        bytes = head(&[shallow.as_bytes(), &line("refs/heads/a", " report-status side-band-64k"), delete.as_bytes()]);
        bytes.extend_from_slice(b"PACK....");
        let mut reader = HeadReader::new(MANY);
        let ends: Vec<bool> = bytes.iter().take(bytes.len() - 8).map(|b| reader.feed(&[*b]).unwrap()).collect();
        assert_eq!(ends.iter().position(|e| *e), Some(bytes.len() - 9));
        let mut reader = HeadReader::new(MANY);
        assert!(reader.feed(&bytes).unwrap() && !reader.is_probe());
        let (head, all) = reader.finish();
        assert_eq!(&all[..], bytes);
        assert_eq!((head.changes.len(), head.report, head.bands), (2, true, true));
        assert!(head.changes[0].creates() && head.changes[1].deletes() && head.verdict().is_none());
    }

    #[test]
    fn what_is_not_offered_is_refused() {
        let cases = [
            ("push-cert\0 report-status\n".to_owned(), HeadError::Signed),
            ("certificate version 0.1\n".to_owned(), HeadError::Line),
            (format!("{Z} {A}\n"), HeadError::Line),
            (format!("{Z} {} refs/heads/a", "1".repeat(64)), HeadError::Line),
            (format!("{Z} {A} refs/heads/a\nb"), HeadError::Line),
        ];
        for (line, error) in cases {
            assert_eq!(read(&head(&[line.as_bytes()])), Err(error), "{line}");
        }
        assert_eq!(HeadReader::new(MANY).feed(b"PACK\0\0"), Err(HeadError::Malformed(pkt::Malformed)));
        assert_eq!(HeadReader::new(MANY).feed(b"0001"), Err(HeadError::Line));
    }

    #[test]
    fn an_endless_list_is_cut_off() {
        let mut reader = HeadReader::new(MANY);
        let mut frame = Vec::new();
        pkt::push(&mut frame, &line(&format!("refs/heads/{}", "x".repeat(60000)), ""));
        let ended = (0..100).find_map(|_| reader.feed(&frame).err());
        assert_eq!(ended, Some(HeadError::TooLong));
        assert!(reader.bytes.len() < LONGEST_HEAD + frame.len() + 1);
    }

    // holds: push-quotas
    #[test]
    fn a_push_of_too_many_references_ends_the_reading() {
        let lines: Vec<Vec<u8>> =
            (0..4).map(|n| line(&format!("refs/heads/{n}"), " report-status side-band-64k")).collect();
        let bytes = head(&lines.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert!(HeadReader::new(4).feed(&bytes).unwrap());
        let mut reader = HeadReader::new(3);
        assert_eq!(reader.feed(&bytes), Err(HeadError::TooMany));
        let answer = String::from_utf8(reader.finish().0.failure("too many").unwrap()).unwrap();
        assert!(answer.contains("unpack too many\n") && answer.ends_with("00000000"), "{answer}");
    }

    #[test]
    fn one_bad_name_refuses_the_push_and_says_which() {
        let bad = format!("{Z} {A} refs/terok/upstream/heads/main");
        let read = read(&head(&[&line("refs/heads/a", " report-status"), bad.as_bytes()])).unwrap();
        let reasons = read.verdict().unwrap();
        assert!(reasons[0].contains("another") && reasons[1].contains("refs/heads/"), "{reasons:?}");
        let answer = String::from_utf8(read.refusal(&reasons).unwrap()).unwrap();
        assert!(answer.starts_with("000eunpack ok\n") && answer.ends_with("\n0000"), "{answer}");
        assert!(answer.contains("ng refs/terok/upstream/heads/main only "), "{answer}");
        let twice = Head { changes: vec![read.changes[0].clone(); 2], ..Head::default() };
        assert!(twice.verdict().unwrap()[1].contains("twice"));
        assert!(twice.refusal(&twice.verdict().unwrap()).is_none(), "nobody reads a report");
    }

    #[test]
    fn a_long_report_is_split_into_bands() {
        let change = Change { old: Z.into(), new: A.into(), name: vec![b'x'; 40000] };
        let head = Head { changes: vec![change; 4], report: true, bands: true };
        let answer = head.refusal(&vec!["no".to_owned(); 4]).unwrap();
        let (mut at, mut joined) = (0, Vec::new());
        while let Some((Frame::Data(range), next)) = pkt::next(&answer, at).unwrap() {
            assert_eq!(answer[range.start], 1);
            joined.extend_from_slice(&answer[range.start + 1..range.end]);
            at = next;
        }
        assert_eq!(&answer[at..], pkt::FLUSH);
        assert!(joined.ends_with(pkt::FLUSH) && joined.len() > 160_000);
    }
}
