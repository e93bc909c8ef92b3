//! What happens where tokens do not fit: ANTLR's default strategy with cel-go's limits. An unwanted token is left out if
//! the next fits, a missing one is made up if what follows it is here, and else tokens are skipped up to one that some open
//! rule can go on with. After an error nothing is told until a token fitted.

use super::{Node, Parser};
use crate::lexer::escape_blanks;
use crate::token::{Kind, Set, Token};

const RECOVERIES_MAX: usize = 30;
const SKIPPED_MAX: usize = 256;
const ERRORS_MAX: usize = 100;

/// Places in rules where errors are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    Start,
    Colon,
    Unary,
    Signs,
    Member,
    MemberCallEnd,
    Arguments,
    Index,
    IndexEnd,
    Primary,
    NestedEnd,
    CallEnd,
    Fields,
    FieldsEnd,
    FieldName,
    FieldColon,
    Name,
    Elements,
    ElementsEnd,
    Entries,
    EntriesEnd,
    EntryColon,
    OptionalExpr,
    Literal,
}

/// What can follow: these tokens, or, if `ends`, also the end of the rule.
#[derive(Clone, Copy, Debug)]
pub struct Follow {
    set: Set,
    ends: bool,
}

impl Follow {
    /// The rule ends here.
    pub const END: Self = Self { set: Set::NONE, ends: true };

    pub const fn one(kind: Kind) -> Self {
        Self { set: Set::of(&[kind]), ends: false }
    }

    pub const fn must(set: Set) -> Self {
        Self { set, ends: false }
    }

    pub const fn maybe(set: Set) -> Self {
        Self { set, ends: true }
    }
}

/// Why a rule cannot go on.
pub struct Fault {
    site: Site,
    kind: FaultKind,
}

enum FaultKind {
    /// The next token is none of these.
    Mismatch(Set),
    /// No way to read these tokens; the last is the one that does not fit.
    NoViable(Token, Token),
}

#[derive(Default)]
pub struct State {
    /// Nothing fitted since the last error.
    recovering: bool,
    /// Reading was given up.
    stopped: bool,
    /// Where the last error was, and which sites met it: one that meets it again skips the token.
    last_index: Option<usize>,
    last_sites: Vec<Site>,
    attempts: usize,
    errors: usize,
    /// What can follow each open rule, innermost last.
    follow: Vec<Follow>,
}

impl State {
    pub fn stopped(&self) -> bool {
        self.stopped
    }
}

impl<'a> Parser<'a> {
    /// The `ahead`th token from here, from 1. Nothing is left once reading was given up.
    pub(super) fn token(&mut self, ahead: usize) -> Token {
        while self.tokens.len() < self.index + ahead {
            let before = self.issues.count();
            let token = self.lexer.next(&mut self.issues);
            self.recovery.errors += self.issues.count() - before;
            self.recovery.stopped |= self.recovery.errors > ERRORS_MAX;
            self.tokens.push(token);
        }
        if self.recovery.stopped {
            let end = self.text.len();
            return Token { kind: Kind::Eof, start: end, end };
        }
        self.tokens[self.index + ahead - 1]
    }

    pub(super) fn kind(&mut self, ahead: usize) -> Kind {
        self.token(ahead).kind
    }

    /// Reads a token that is known to fit.
    pub(super) fn take(&mut self) -> Token {
        let token = self.token(1);
        self.fits();
        self.skip();
        token
    }

    pub(super) fn take_if(&mut self, kind: Kind) -> Option<Token> {
        (self.kind(1) == kind).then(|| self.take())
    }

    fn skip(&mut self) {
        if self.kind(1) != Kind::Eof {
            self.index += 1;
        }
    }

    fn fits(&mut self) {
        self.recovery.recovering = false;
        self.recovery.last_index = None;
        self.recovery.last_sites.clear();
    }

    pub(super) fn text_of(&self, token: Token) -> &'a str {
        &self.text[token.start..token.end]
    }

    /// Runs a rule that something can follow.
    pub(super) fn within<T>(&mut self, follow: Follow, rule: impl FnOnce(&mut Self) -> T) -> T {
        self.recovery.follow.push(follow);
        let value = rule(self);
        self.recovery.follow.pop();
        value
    }

    /// Runs a rule; at a fault it is told and skipped to where rules around this one can go on.
    pub(super) fn guarded(&mut self, rule: impl FnOnce(&mut Self) -> Result<Node, Fault>) -> Node {
        let at = self.token(1).start;
        rule(self).unwrap_or_else(|fault| {
            self.give_up(&fault);
            Node::error(at)
        })
    }

    /// The same for a rule that fills a list.
    pub(super) fn guarded_list<T>(&mut self, list: &mut Vec<T>, rule: fn(&mut Self, &mut Vec<T>) -> Result<(), Fault>) {
        if let Err(fault) = rule(self, list) {
            self.give_up(&fault);
        }
    }

    pub(super) fn give_up(&mut self, fault: &Fault) {
        self.report(fault);
        self.recover(fault.site);
    }

    /// Before a choice: an unwanted token is left out if the next is one of `first`.
    pub(super) fn sync(&mut self, site: Site, first: Set) -> Result<(), Fault> {
        if self.recovery.recovering || first.has(self.kind(1)) || self.delete_one(first) {
            return Ok(());
        }
        Err(Fault { site, kind: FaultKind::Mismatch(first) })
    }

    /// Inside of a loop: what does not fit is skipped.
    pub(super) fn sync_loop(&mut self, first: Set) {
        if self.recovery.recovering || first.has(self.kind(1)) {
            return;
        }
        self.unwanted(first);
        let stops = first.and(self.recovery_set());
        while self.kind(1) != Kind::Eof && !stops.has(self.kind(1)) {
            self.skip();
        }
    }

    /// Reads a token of this kind; `next` is what follows it in the rule.
    pub(super) fn expect(&mut self, site: Site, kind: Kind, next: Follow) -> Result<Token, Fault> {
        if self.kind(1) == kind {
            return Ok(self.take());
        }
        self.attempt();
        let wanted = Set::of(&[kind]);
        if self.delete_one(wanted) {
            return Ok(self.take());
        }
        self.recovery.follow.push(next);
        let after = self.possible();
        self.recovery.follow.pop();
        let here = self.token(1);
        if after.has(here.kind) {
            self.begin_error(here, |shown| format!("missing {wanted} at {shown}"));
            return Ok(Token { kind, start: here.start, end: here.start });
        }
        Err(Fault { site, kind: FaultKind::Mismatch(wanted) })
    }

    /// The tokens up to the `ahead`th can be nothing.
    pub(super) fn no_viable(&mut self, site: Site, ahead: usize) -> Fault {
        Fault { site, kind: FaultKind::NoViable(self.token(1), self.token(ahead)) }
    }

    pub(super) fn report(&mut self, fault: &Fault) {
        let here = self.token(1);
        match fault.kind {
            FaultKind::Mismatch(wanted) => {
                self.begin_error(here, |shown| format!("mismatched input {shown} expecting {wanted}"));
            }
            FaultKind::NoViable(first, last) => {
                let text = match first.kind {
                    Kind::Eof => "<EOF>".to_owned(),
                    _ => escape_blanks(&self.lexer.readable(first.start..last.end)),
                };
                self.begin_error(last, |_| match text.get(1..) {
                    // A reserved word as a field: told as if it were simply no identifier.
                    Some(word @ ("true" | "false" | "null")) => {
                        format!("mismatched input '{word}' expecting IDENTIFIER")
                    }
                    _ => format!("no viable alternative at input '{text}'"),
                });
            }
        }
    }

    /// The next token is left out if the one after it is `wanted`.
    fn delete_one(&mut self, wanted: Set) -> bool {
        if !wanted.has(self.kind(2)) || self.kind(1) == Kind::Eof {
            return false;
        }
        self.unwanted(wanted);
        self.skip();
        self.fits();
        true
    }

    fn unwanted(&mut self, wanted: Set) {
        let here = self.token(1);
        self.begin_error(here, |shown| format!("extraneous input {shown} expecting {wanted}"));
    }

    /// Tells of an error unless one was told and nothing fitted since.
    fn begin_error(&mut self, token: Token, text: impl FnOnce(&str) -> String) {
        if self.recovery.recovering {
            return;
        }
        self.recovery.recovering = true;
        let shown = match token.kind {
            Kind::Eof => "'<EOF>'".to_owned(),
            _ => format!("'{}'", escape_blanks(self.text_of(token))),
        };
        self.tell(token.start, &text(&shown));
    }

    fn tell(&mut self, at: usize, text: &str) {
        if self.recovery.stopped {
            return;
        }
        self.issues.report(at, format!("Syntax error: {text}"));
        self.recovery.errors += 1;
        self.recovery.stopped |= self.recovery.errors > ERRORS_MAX;
    }

    pub(super) fn too_deep(&mut self) {
        if !self.recovery.stopped {
            self.issues.whole(format!("expression recursion limit exceeded: {}", super::DEPTH_MAX));
            self.recovery.stopped = true;
        }
    }

    fn recover(&mut self, site: Site) {
        self.attempt();
        let mut skipped = 0;
        if self.recovery.last_index == Some(self.index) && self.recovery.last_sites.contains(&site) {
            self.skip();
            skipped += 1;
        }
        self.recovery.last_index = Some(self.index);
        self.recovery.last_sites.push(site);
        let stops = self.recovery_set();
        while self.kind(1) != Kind::Eof && !stops.has(self.kind(1)) {
            if skipped >= SKIPPED_MAX {
                let text = format!("error recovery token lookahead limit exceeded: {SKIPPED_MAX}");
                self.issues.whole(text);
                self.recovery.stopped = true;
                return;
            }
            self.skip();
            skipped += 1;
        }
    }

    fn attempt(&mut self) {
        if self.recovery.attempts == RECOVERIES_MAX && !self.recovery.stopped {
            let at = self.token(1).start;
            self.tell(at, &format!("error recovery attempt limit exceeded: {RECOVERIES_MAX}"));
            self.recovery.stopped = true;
        }
        self.recovery.attempts += 1;
    }

    /// What can come here, by the rules that are open.
    fn possible(&self) -> Set {
        let mut set = Set::NONE;
        for follow in self.recovery.follow.iter().rev() {
            set = set.and(follow.set);
            if !follow.ends {
                return set;
            }
        }
        set
    }

    /// What any open rule can go on with.
    fn recovery_set(&self) -> Set {
        self.recovery.follow.iter().fold(Set::NONE, |set, follow| set.and(follow.set))
    }
}
