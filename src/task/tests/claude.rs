//! The log of Claude Code, record by record.

use serde_json::Value;

use crate::claude::Claude;

fn told(row: &Value, streaming: bool, colour: bool) -> [String; 2] {
    let mut formatter = Claude::new(streaming, colour);
    let lines = row["lines"].as_array().unwrap();
    let mut out: String = lines.iter().map(|line| formatter.feed(line.as_str().unwrap())).collect();
    let (rest, summary) = formatter.finish();
    out.push_str(&rest);
    [out, summary]
}

// improves: 31-13.2-odd-records 31-13.2-told-once 31-13.2-control-sequences
#[test]
fn every_record_is_told_as_the_table_says() {
    let table: Value = serde_json::from_str(include_str!("../../../tests/fixtures/task/claude.json")).unwrap();
    for row in table.as_array().unwrap() {
        for (key, streaming, colour) in [("streaming_coloured", true, true), ("whole_plain", false, false)] {
            let expected: [String; 2] = serde_json::from_value(row[key].clone()).unwrap();
            assert_eq!(told(row, streaming, colour), expected, "{} {key}", row["name"]);
        }
    }
}

#[test]
fn whole_messages_within_open_blocks_are_told_once() {
    let row = serde_json::json!({"lines": [
        r#"{"type":"content_block_start","content_block":{"type":"text"}}"#,
        r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"Hello"}}"#,
        r#"{"type":"assistant","message":{"content":[{"type":"text","text":"Hello"}]}}"#,
        r#"{"type":"content_block_stop"}"#,
        r#"{"type":"content_block_start","content_block":{"type":"tool_use","name":"Bash"}}"#,
        r#"{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{\"a\":1}"}}"#,
        r#"{"type":"content_block_stop"}"#,
        r#"{"type":"assistant","message":{"content":[{"type":"tool_use","name":"Bash","input":{"a":1}}]}}"#,
        r#"{"type":"assistant","message":{"content":[{"type":"tool_use","name":"Bash","input":{"a":1}}]}}"#,
        r#"{"type":"assistant","message":{"content":[{"type":"text","text":"Hello"}]}}"#,
    ]});
    let expected = "Hello\n[tool] Bash\n  a: 1\n[tool] Bash\n  a: 1\nHello\n";
    assert_eq!(told(&row, true, false)[0], expected);
}

// holds: hostile-text-is-cleaned
#[test]
fn pieces_of_text_are_cleaned_when_a_sequence_is_split_between_them() {
    let delta = |text: &str| {
        serde_json::json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}).to_string()
    };
    let start = r#"{"type":"content_block_start","content_block":{"type":"text"}}"#.to_owned();
    let lines = [start, delta("a\u{1b}"), delta("]52;c;"), delta("AAAA\u{7}b\r"), delta("\nc")];
    let row = serde_json::json!({"lines": lines});
    assert_eq!(told(&row, true, false)[0], "ab\nc\n");
}

#[test]
fn endless_pieces_are_shown_and_not_remembered() {
    let mut formatter = Claude::new(true, false);
    formatter.feed(r#"{"type":"content_block_start","content_block":{"type":"text"}}"#);
    let line = "x".repeat(99_999) + "\n";
    let piece = serde_json::json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": line}});
    for _ in 0..100 {
        assert_eq!(formatter.feed(&piece.to_string()), line);
    }
    assert!(formatter.remembered() < 5 << 20);
}
