//! What an expression can name: variables, types, and the fields of objects.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::cost::{Shape, Shapes};
use crate::functions::{self, Functions, Overload};
use crate::types::Type;

/// Fields of an object type and their types, in the notation of [`Type::read`].
pub(crate) type Fields = &'static [(&'static str, &'static str)];

/// Names of types that any expression can use.
const TYPES: &[(&str, &str)] = &[
    ("bool", "bool"),
    ("bytes", "bytes"),
    ("double", "double"),
    ("int", "int"),
    ("list", "list(dyn)"),
    ("map", "map(dyn, dyn)"),
    ("null_type", "null"),
    ("optional_type", "optional_type(dyn)"),
    ("string", "string"),
    ("type", "type"),
    ("uint", "uint"),
    ("google.protobuf.Duration", "duration"),
    ("google.protobuf.Timestamp", "timestamp"),
    ("net.IP", "IP"),
    ("net.CIDR", "CIDR"),
    ("kubernetes.URL", "URL"),
    ("kubernetes.Image", "Image"),
    ("kubernetes.Quantity", "Quantity"),
    ("kubernetes.Semver", "Semver"),
    ("kubernetes.NamedFormat", "NamedFormat"),
    ("kubernetes.authorization.Authorizer", "Authorizer"),
    ("kubernetes.authorization.PathCheck", "PathCheck"),
    ("kubernetes.authorization.GroupCheck", "GroupCheck"),
    ("kubernetes.authorization.ResourceCheck", "ResourceCheck"),
    ("kubernetes.authorization.Decision", "Decision"),
];

/// Types of protocol buffers, which are not told apart.
const PROTOBUF: &str = "google.protobuf.";

/// The name of the type whose fields are an environment's own.
pub(crate) const VARIABLES: &str = "kubernetes.variables";

/// What an expression can name.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: Vec<(&'static str, Type)>,
    objects: Vec<(&'static str, Fields)>,
    /// Fields of `variables`.
    own: Vec<(String, Type)>,
    /// Fields of objects that have a schema.
    shapes: HashMap<String, HashMap<String, Type>>,
    /// There are types of objects and of patches.
    patches: bool,
    /// Functions besides those that all expressions have.
    functions: Option<&'static LazyLock<Functions>>,
    /// How large the data is that variables stand for.
    data: Shapes,
}

/// What is known of a field.
pub(crate) enum Field {
    Of(Type),
    /// The type has no such field.
    Unknown,
    /// The type has no fields at all.
    NoFields,
}

fn read(text: &str) -> Type {
    // The texts are those of tables, which a test reads all.
    Type::read(&mut { text }).unwrap_or(Type::Dyn)
}

impl Environment {
    pub(crate) fn new(variables: &[(&'static str, &str)], objects: &[&[(&'static str, Fields)]]) -> Self {
        Self {
            variables: variables.iter().map(|(name, of)| (*name, read(of))).collect(),
            objects: objects.concat(),
            ..Self::default()
        }
    }

    /// Adds a variable whose type is written as in tables.
    pub(crate) fn with(mut self, name: &'static str, of: &str) -> Self {
        self.variables.push((name, read(of)));
        self
    }

    pub(crate) fn with_patches(mut self) -> Self {
        self.patches = true;
        self.with_functions(&functions::PATCHES)
    }

    pub(crate) fn with_functions(mut self, functions: &'static LazyLock<Functions>) -> Self {
        self.functions = Some(functions);
        self
    }

    pub(crate) fn with_data(mut self, data: Shapes) -> Self {
        self.data = data;
        self
    }

    /// Tells how large the data is that all variables stand for.
    pub fn set_shape(&mut self, shape: Shape) {
        self.data = Shapes::Anywhere(Arc::new(shape));
    }

    pub(crate) fn shapes(&self) -> &Shapes {
        &self.data
    }

    /// Sets a variable, or changes its type.
    pub fn set(&mut self, name: &'static str, of: Type) {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, of));
    }

    /// Adds a type of objects; gives the type. Expressions cannot name it, so the name is for errors alone.
    pub fn add_object(&mut self, name: &str, fields: HashMap<String, Type>) -> Type {
        self.shapes.insert(name.to_owned(), fields);
        Type::Object(Cow::Owned(name.to_owned()))
    }

    /// Adds a field of `variables`. As upstream has it, types that are not CEL's own are not kept.
    pub fn add_variable(&mut self, name: &str, of: &Type) {
        self.own.retain(|(known, _)| known != name);
        self.own.push((name.to_owned(), of.simplified()));
    }

    /// The type of a variable, or of a type.
    pub(crate) fn identifier(&self, name: &str) -> Option<Type> {
        let variable = self.variables.iter().find(|(known, _)| *known == name).map(|(_, of)| of.clone());
        variable.or_else(|| self.type_named(name).map(|of| Type::Type(Some(Arc::new(of)))))
    }

    fn type_named(&self, name: &str) -> Option<Type> {
        if let Some((_, of)) = TYPES.iter().find(|(known, _)| *known == name) {
            return Some(read(of));
        }
        if name.starts_with(PROTOBUF) {
            return Some(Type::Dyn);
        }
        let known = self.objects.iter().find(|(known, _)| *known == name).map(|(known, _)| Cow::Borrowed(*known));
        known.or_else(|| self.is_patch_type(name).then(|| Cow::Owned(name.to_owned()))).map(Type::Object)
    }

    fn is_patch_type(&self, name: &str) -> bool {
        self.patches && (name == "JSONPatch" || name == "Object" || name.starts_with("Object."))
    }

    pub(crate) fn field(&self, object: &str, name: &str) -> Field {
        let found = |of: Option<Type>| of.map_or(Field::Unknown, Field::Of);
        if object == VARIABLES {
            return found(self.own.iter().find(|(known, _)| known == name).map(|(_, of)| of.clone()));
        }
        if self.is_patch_type(object) {
            return found(match (object, name) {
                ("JSONPatch", "op" | "path" | "from") => Some(Type::String),
                ("JSONPatch", "value") => Some(Type::Dyn),
                ("JSONPatch", _) => None,
                _ => Some(Type::Dyn),
            });
        }
        if let Some(fields) = self.shapes.get(object) {
            return found(fields.get(name).cloned());
        }
        match self.objects.iter().find(|(known, _)| *known == object) {
            Some((_, fields)) => found(fields.iter().find(|(known, _)| *known == name).map(|(_, of)| read(of))),
            None => Field::NoFields,
        }
    }

    /// The ways to call a function.
    pub(crate) fn function(&self, name: &str) -> Option<&'static [Overload]> {
        let own = || self.functions.and_then(|functions| functions.get(name));
        functions::COMMON.get(name).or_else(own).map(Vec::as_slice)
    }
}
