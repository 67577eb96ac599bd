//! One line of the credential audit file: who used which credential for what, how it ended, and what it cost.
//!
//! A line never holds a token, a credential, a query string or a header value. The keys up to `duration_ms` are in every
//! line; those about consumption only where the provider's answer told, `count` only in a line that stands for several
//! requests.

use serde::Serialize;

/// One request seen by the broker; keys serialise in this order.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AuditLine {
    /// UTC time, ISO 8601 with seconds and offset.
    pub ts: String,
    /// Scope of the token; empty without one.
    pub scope: String,
    /// Subject (task or container) of the token.
    pub subject: String,
    /// Credential set of the token.
    pub credential_set: String,
    /// Provider of the token.
    pub provider: String,
    /// HTTP method.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// HTTP status sent to the client.
    pub status: u16,
    /// `ok`, or the label of the refusal.
    pub outcome: &'static str,
    /// Whole duration in milliseconds.
    pub duration_ms: u64,
    /// Model that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens of the question, as the provider counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// How many requests the line stands for, when they are counted and not listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl AuditLine {
    /// Compact JSON with a final newline, to be appended with one write.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("plain values serialise") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_set_and_order() {
        let mut line =
            AuditLine { ts: "2026-05-28T10:11:12+00:00".into(), status: 200, outcome: "ok", ..Default::default() };
        let always = concat!(
            r#"{"ts":"2026-05-28T10:11:12+00:00","scope":"","subject":"","credential_set":"","provider":"","method":"","#,
            r#""path":"","status":200,"outcome":"ok","duration_ms":0"#,
        );
        assert_eq!(line.to_line(), format!("{always}}}\n"));
        (line.model, line.input_tokens, line.output_tokens) = (Some("m".into()), Some(3), Some(0));
        assert_eq!(line.to_line(), format!("{always},\"model\":\"m\",\"input_tokens\":3,\"output_tokens\":0}}\n"));
    }
}
