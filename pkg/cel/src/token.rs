//! Tokens and sets of them, in the order and with the names that cel-go's error texts use.

use std::fmt;

macro_rules! kinds {
    ($($kind:ident $name:literal)*) => {
        /// What a token is. The order is that of the lists in error texts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind { $($kind),* }

        const KINDS: &[(Kind, &str)] = &[$((Kind::$kind, $name)),*];
    };
}

kinds! {
    Eof "<EOF>"
    Equal "'=='" NotEqual "'!='" In "'in'" Less "'<'" LessEqual "'<='" GreaterEqual "'>='" Greater "'>'"
    And "'&&'" Or "'||'"
    LBracket "'['" RBracket "']'" LBrace "'{'" RBrace "'}'" LParen "'('" RParen "')'"
    Dot "'.'" Comma "','" Minus "'-'" Not "'!'" Question "'?'" Colon "':'" Plus "'+'" Star "'*'" Slash "'/'" Percent "'%'"
    True "'true'" False "'false'" Null "'null'"
    Float "NUM_FLOAT" Int "NUM_INT" Uint "NUM_UINT" String "STRING" Bytes "BYTES"
    Ident "IDENTIFIER" EscapedIdent "ESC_IDENTIFIER"
}

/// One token; `start` and `end` are byte offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

/// A set of kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set(u64);

impl Set {
    pub const NONE: Self = Self(0);

    pub const fn of(kinds: &[Kind]) -> Self {
        let (mut bits, mut i) = (0, 0);
        while i < kinds.len() {
            bits |= 1 << kinds[i] as u8;
            i += 1;
        }
        Self(bits)
    }

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

impl fmt::Display for Set {
    /// One name as it is, several in braces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = KINDS.iter().filter(|(kind, _)| self.has(*kind)).map(|(_, name)| *name).collect();
        match names[..] {
            [one] => f.write_str(one),
            _ => write!(f, "{{{}}}", names.join(", ")),
        }
    }
}
