//! The states of a firewall and their words, those of earlier versions included.

/// The state of a container's firewall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShieldState {
    /// Nothing passes, not even what is allowed.
    Quarantine,
    /// Default deny.
    Up,
    /// Everything public passes that is not denied.
    Down,
    /// As [`ShieldState::Down`], and private space is open too.
    Disengaged,
    /// There are no rules.
    Offline,
    /// There are rules that no state has.
    Error,
}

impl ShieldState {
    /// The states that have rules.
    pub const WITH_RULES: [Self; 4] = [Self::Quarantine, Self::Up, Self::Down, Self::Disengaged];

    /// The word in files and output.
    pub fn word(self) -> &'static str {
        match self {
            Self::Quarantine => "quarantine",
            Self::Up => "up",
            Self::Down => "down",
            Self::Disengaged => "disengaged",
            Self::Offline => "offline",
            Self::Error => "error",
        }
    }

    /// Reads a word; `block`, `down_all` and `inactive` are what earlier versions wrote.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "quarantine" | "block" => Self::Quarantine,
            "up" => Self::Up,
            "down" => Self::Down,
            "disengaged" | "down_all" => Self::Disengaged,
            "offline" | "inactive" => Self::Offline,
            "error" => Self::Error,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_and_old_words_are_known() {
        for state in ShieldState::WITH_RULES.into_iter().chain([ShieldState::Offline, ShieldState::Error]) {
            assert_eq!(ShieldState::parse(state.word()), Some(state));
        }
        assert_eq!(ShieldState::parse("block"), Some(ShieldState::Quarantine));
        assert_eq!(ShieldState::parse("down_all"), Some(ShieldState::Disengaged));
        assert_eq!(ShieldState::parse("inactive"), Some(ShieldState::Offline));
        assert_eq!(ShieldState::parse("UP"), None);
    }
}
