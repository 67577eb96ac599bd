//! Control sequences in what a container prints.

use crate::clean::{block, coloured, line};

// improves: 30-8.5-clean-status
#[test]
fn nothing_that_moves_a_terminal_is_left() {
    for (raw, expected) in [
        ("plain é ✅ 👩‍💻", "plain é ✅ 👩‍💻"),
        ("\u{1b}[31mred\u{1b}[0m", "red"),
        ("a\u{1b}]0;title\u{7}b", "ab"),
        ("a\u{1b}]8;;http://x\u{1b}\\b", "ab"),
        ("a\u{1b}Pq#0\u{1b}\\b", "ab"),
        ("a\u{1b}(Bb\u{1b}7c\u{1b}=d", "abcd"),
        ("a\u{9b}2Jb\u{9d}x\u{9c}c", "abc"),
        ("a\u{1b}[2", "a"),
        ("a\u{1b}", "a"),
        ("a\u{1b}\u{1b}[1mb", "ab"),
        ("a\u{1b}]open\nb", "a\nb"),
        ("a\u{202e}b\u{2066}c\u{200b}d\u{feff}e", "abcde"),
        ("10%\r20%\r\n", "10%\n20%\n"),
        ("a\u{8}b\u{7f}c\0d\u{85}e", "abcde"),
        ("a\u{2028}b", "ab"),
        ("\u{1b}[31;\u{7}mx", "mx"),
        ("\u{1b}éx", "x"),
    ] {
        assert_eq!(block(raw), expected, "{raw:?}");
        assert!(!line(raw).contains(char::is_control), "{raw:?}");
    }
    assert_eq!(line("a\nb\tc"), "a b c");
    assert_eq!(coloured("\u{1b}[1;31mred\u{1b}[0m\u{1b}[2J\u{1b}[?25l"), "\u{1b}[1;31mred\u{1b}[0m");
}
