//! Lists, maps and objects.

use super::build::Node;
use super::recovery::{Fault, Follow, Site};
use super::{EXPR, FIELD, NAME, OPTIONAL_EXPR, Parsed, Parser};
use crate::ast::{Element, Entry, Field};
use crate::token::{Kind as T, Set, Token};

impl Parser<'_> {
    /// `a.b.C{field: value}`; the name takes `length` tokens.
    pub(super) fn object(&mut self, length: usize) -> Parsed {
        const END: Set = Set::of(&[T::Comma, T::RBrace]);
        let mut name = String::new();
        for _ in 0..length {
            let token = self.take();
            name.push_str(self.text_of(token));
        }
        let open = self.take();
        self.sync(Site::Fields, FIELD.and(END))?;
        let mut fields = Vec::new();
        if FIELD.has(self.kind(1)) {
            self.within(Follow::must(END), |parser| parser.guarded_list(&mut fields, Self::fields));
        }
        self.end_of_list(Site::FieldsEnd, T::RBrace)?;
        Ok(Node::object(open.start, name, fields))
    }

    fn fields(&mut self, fields: &mut Vec<(Field, usize)>) -> Result<(), Fault> {
        loop {
            let name = self.within(Follow::one(T::Colon), Self::field_name);
            let colon = self.expect(Site::FieldColon, T::Colon, Follow::must(EXPR))?;
            let value = self.within(Follow::maybe(Set::of(&[T::Comma])), Self::expr);
            if let Some((optional, name)) = name {
                let name = self.name_text(name);
                fields.push((Field { at: colon.start, optional, name, value: value.expr }, value.depth));
            }
            if !self.goes_on(FIELD) {
                return Ok(());
            }
        }
    }

    /// `name` or `?name`.
    fn field_name(&mut self) -> Option<(bool, Token)> {
        if let Err(fault) = self.sync(Site::FieldName, FIELD) {
            self.give_up(&fault);
            return None;
        }
        let optional = self.take_if(T::Question).is_some();
        self.within(Follow::END, Self::name).map(|name| (optional, name))
    }

    /// A name, or one in backquotes.
    pub(super) fn name(&mut self) -> Option<Token> {
        if let Err(fault) = self.sync(Site::Name, NAME) {
            self.give_up(&fault);
            return None;
        }
        if NAME.has(self.kind(1)) {
            return Some(self.take());
        }
        let fault = self.no_viable(Site::Name, 1);
        self.give_up(&fault);
        None
    }

    pub(super) fn list(&mut self) -> Parsed {
        const END: Set = Set::of(&[T::Comma, T::RBracket]);
        let open = self.take();
        self.sync(Site::Elements, OPTIONAL_EXPR.and(END))?;
        let mut elements = Vec::new();
        if OPTIONAL_EXPR.has(self.kind(1)) {
            self.within(Follow::must(END), |parser| {
                loop {
                    let (optional, node) = parser.within(Follow::maybe(Set::of(&[T::Comma])), Self::optional_expr);
                    elements.push((Element { optional, value: node.expr }, node.depth));
                    if !parser.goes_on(OPTIONAL_EXPR) {
                        return;
                    }
                }
            });
        }
        self.end_of_list(Site::ElementsEnd, T::RBracket)?;
        Ok(Node::list(open.start, elements))
    }

    pub(super) fn map(&mut self) -> Parsed {
        const END: Set = Set::of(&[T::Comma, T::RBrace]);
        let open = self.take();
        self.sync(Site::Entries, OPTIONAL_EXPR.and(END))?;
        let mut entries = Vec::new();
        if OPTIONAL_EXPR.has(self.kind(1)) {
            self.within(Follow::must(END), |parser| parser.guarded_list(&mut entries, Self::entries));
        }
        self.end_of_list(Site::EntriesEnd, T::RBrace)?;
        Ok(Node::map(open.start, entries))
    }

    fn entries(&mut self, entries: &mut Vec<(Entry, usize)>) -> Result<(), Fault> {
        loop {
            let (optional, key) = self.within(Follow::one(T::Colon), Self::optional_expr);
            self.expect(Site::EntryColon, T::Colon, Follow::must(EXPR))?;
            let value = self.within(Follow::maybe(Set::of(&[T::Comma])), Self::expr);
            let depth = key.depth.max(value.depth);
            entries.push((Entry { optional, key: key.expr, value: value.expr }, depth));
            if !self.goes_on(OPTIONAL_EXPR) {
                return Ok(());
            }
        }
    }

    /// Takes a comma that an item follows, which begins with one of `first`.
    fn goes_on(&mut self, first: Set) -> bool {
        let more = self.kind(1) == T::Comma && first.has(self.kind(2));
        if more {
            self.take();
        }
        more
    }

    /// A last comma and the sign that ends a list of any kind.
    fn end_of_list(&mut self, site: Site, end: T) -> Result<(), Fault> {
        self.sync(site, Set::of(&[T::Comma, end]))?;
        self.take_if(T::Comma);
        self.expect(site, end, Follow::END).map(drop)
    }
}
