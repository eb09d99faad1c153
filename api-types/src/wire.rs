//! How a type of the API is read, written and described.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value, json};
use xfiles_core::webhook::Reach;

use crate::{
    problem::{FieldError, FieldRule},
    spelling,
};

/// A type that stands in requests or answers. The methods from `take` on say what it does as a field of an object; only
/// the types of this module that stand for an optional field differ from the default.
pub trait Wire: Sized {
    /// Whether it is an object, whose fields have faults of their own.
    const IS_OBJECT: bool = false;

    /// Its JSON Schema, or a reference to it.
    fn schema(schemas: &mut Schemas) -> Value;

    /// Reads a value. `None`: it breaks a rule, which `reading` has.
    fn read(value: &Value, at: &At<'_>, reading: &mut Reading) -> Option<Self>;

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error>;

    /// A value for the examples of the description.
    fn example() -> Option<Value> {
        None
    }

    /// The JSON value that the text of a query parameter stands for.
    fn of_text(text: &str) -> Value {
        text.into()
    }

    /// Reads it as a field. An absent field and `null` are the same.
    fn take(name: &'static str, fields: &mut Fields<'_, '_>) -> Option<Self> {
        match fields.get::<Self>(name)? {
            Some(value) => fields.read(name, &value),
            None => fields.refuse(name, FieldRule::Required, "is required"),
        }
    }

    /// Writes it as a field.
    fn put<M: SerializeMap>(&self, name: &'static str, to: &mut M) -> Result<(), M::Error> {
        to.serialize_entry(name, &Written(self))
    }

    /// Adds the names of the fields that [`Wire::put`] writes.
    fn note(&self, name: &'static str, names: &mut Vec<&'static str>) {
        names.push(name);
    }

    /// Describes it as a field.
    fn describe(name: &'static str, object: &mut ObjectSchema, schemas: &mut Schemas) -> Presence {
        let schema = Self::schema(schemas);
        object.properties.push((name, schema));
        Presence::Required
    }

    /// Adds it to the example of an object, if the declaration gives no example of its own.
    fn exemplify(name: &'static str, object: &mut Map<String, Value>) {
        if let Some(example) = Self::example() {
            object.insert(name.to_owned(), example);
        }
    }
}

/// Whether a field is in every object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Required,
    Optional,
}

/// A type that is a JSON object; `object!` implements it.
pub trait Object: Wire {
    fn read_fields(fields: &mut Fields<'_, '_>) -> Option<Self>;

    fn put_fields<M: SerializeMap>(&self, to: &mut M) -> Result<(), M::Error>;

    fn describe_fields(object: &mut ObjectSchema, schemas: &mut Schemas);

    /// The names of the fields that it has.
    fn given(&self) -> Vec<&'static str>;
}

/// Serializes by [`Wire::write`].
pub struct Written<'a, T>(pub &'a T);

impl<T: Wire> Serialize for Written<'_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.write(to)
    }
}

/// The JSON value of something.
pub fn to_json<T: Wire>(value: &T) -> Value {
    value.write(serde_json::value::Serializer).expect("every type of the API is JSON")
}

/// A place in a request: a JSON pointer (RFC 6901) into the body, or the name of a query parameter.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    Body,
    Query,
    Field(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body | Self::Query => Ok(()),
            Self::Field(Self::Query, name) => write!(f, "?{name}"),
            Self::Field(parent, name) => write!(f, "{parent}/{}", name.replace('~', "~0").replace('/', "~1")),
            Self::Item(parent, i) => write!(f, "{parent}/{i}"),
        }
    }
}

/// The reading of one request or answer.
#[derive(Debug)]
pub struct Reading {
    pub faults: Vec<FieldError>,
    /// Whether a field that its object does not have is a fault.
    refuses_unknown: bool,
    /// Where the URL of a webhook may point.
    pub webhooks: Reach,
}

impl Reading {
    /// Of a request to a deployment that allows webhooks there.
    pub fn request(webhooks: Reach) -> Self {
        Self { faults: Vec::new(), refuses_unknown: true, webhooks }
    }

    /// Of an answer.
    pub fn answer() -> Self {
        Self { faults: Vec::new(), refuses_unknown: false, webhooks: Reach::Anywhere }
    }

    /// Adds a fault, and gives nothing.
    pub fn refuse<T>(&mut self, at: &At<'_>, code: FieldRule, rule: impl Into<String>) -> Option<T> {
        self.faults.push(FieldError { pointer: at.to_string(), code, detail: rule.into() });
        None
    }

    /// What was parsed, or nothing and the rule that was broken.
    pub fn judge<T, R: Into<String>>(&mut self, at: &At<'_>, parsed: Result<T, R>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(rule) => self.refuse(at, FieldRule::Invalid, rule),
        }
    }
}

/// The fields of an object while it is read. A field that was not asked for does not exist, and is refused by its name.
pub struct Fields<'v, 'r> {
    source: Source<'v>,
    at: At<'v>,
    known: Vec<&'static str>,
    reading: &'r mut Reading,
}

#[derive(Clone, Copy)]
enum Source<'v> {
    Object(&'v Map<String, Value>),
    Query(&'v [(String, String)]),
}

impl<'v, 'r> Fields<'v, 'r> {
    pub fn of_object(value: &'v Value, at: At<'v>, reading: &'r mut Reading) -> Option<Self> {
        match value {
            Value::Object(object) => Some(Self { source: Source::Object(object), at, known: Vec::new(), reading }),
            _ => reading.refuse(&at, FieldRule::Invalid, "must be an object"),
        }
    }

    pub fn of_query(pairs: &'v [(String, String)], reading: &'r mut Reading) -> Self {
        Self { source: Source::Query(pairs), at: At::Query, known: Vec::new(), reading }
    }

    /// The value of a field, `Some(None)` if it is absent or null; `None` if it is there twice.
    fn get<T: Wire>(&mut self, name: &'static str) -> Option<Option<Cow<'v, Value>>> {
        self.known.push(name);
        match self.source {
            Source::Object(object) => Some(object.get(name).filter(|value| !value.is_null()).map(Cow::Borrowed)),
            Source::Query(pairs) => {
                let mut found = pairs.iter().filter(|(found, _)| found == name);
                let first = found.next().map(|(_, text)| Cow::Owned(T::of_text(text)));
                if found.next().is_some() {
                    return self.refuse(name, FieldRule::Invalid, "may be given once");
                }
                Some(first)
            }
        }
    }

    fn read<T: Wire>(&mut self, name: &'static str, value: &Value) -> Option<T> {
        T::read(value, &At::Field(&self.at, name), self.reading)
    }

    fn refuse<T>(&mut self, name: &str, code: FieldRule, rule: &str) -> Option<T> {
        self.reading.refuse(&At::Field(&self.at, name), code, rule)
    }

    /// Reads a field that has a default.
    pub(crate) fn take_or<T: Wire>(&mut self, name: &'static str, default: T) -> Option<T> {
        <Option<T> as Wire>::take(name, self).map(|found| found.unwrap_or(default))
    }

    /// Refuses the names that are left.
    pub(crate) fn finish(self) {
        if let (true, Source::Object(object)) = (self.reading.refuses_unknown, self.source) {
            let names = object.keys().map(String::as_str);
            self.reading.faults.extend(spelling::unknown(names, &self.known, &self.at, "field"));
        }
    }
}

/// The named schemas of a description.
#[derive(Debug)]
pub struct Schemas {
    pub side: Side,
    named: BTreeMap<String, Value>,
}

/// What is described: a request has no fields but those that are listed, and takes null for an absent one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Request,
    Query,
    Answer,
}

impl Default for Schemas {
    fn default() -> Self {
        Self { side: Side::Answer, named: BTreeMap::new() }
    }
}

impl Schemas {
    /// Adds a schema under a name, and gives the reference to it.
    pub fn name(&mut self, name: &str, schema: Value) -> Value {
        let before = self.named.insert(name.to_owned(), schema);
        assert!(before.is_none_or(|before| before == self.named[name]), "two schemas have the name {name}");
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// All of them.
    pub fn into_value(self) -> Value {
        self.named.into_iter().collect::<Map<_, _>>().into()
    }
}

/// The schema of an object while it is put together.
#[derive(Debug, Default)]
pub struct ObjectSchema {
    pub properties: Vec<(&'static str, Value)>,
    pub required: Vec<&'static str>,
    /// Objects whose fields it has as well.
    parts: Vec<Value>,
}

impl ObjectSchema {
    /// Adds a field with its documentation and its default, or with the value that an optional field stands for.
    pub(crate) fn field<T: Wire>(
        &mut self,
        name: &'static str,
        docs: &[&str],
        default: Option<Value>,
        assumed: Option<Value>,
        schemas: &mut Schemas,
    ) {
        let parts = self.parts.len();
        let presence = match &default {
            Some(_) => Option::<T>::describe(name, self, schemas),
            None => T::describe(name, self, schemas),
        };
        if self.parts.len() > parts {
            return;
        }
        if presence == Presence::Required {
            self.required.push(name);
        }
        let (_, schema) = self.properties.last_mut().expect("a field that is no part has been added");
        if !docs.is_empty() {
            schema["description"] = join(docs).into();
        }
        if let Some(default) = default.or(assumed) {
            schema["default"] = default;
        }
    }

    pub(crate) fn into_value(self, docs: &[&str], side: Side) -> Value {
        let mut schema = json!({"type": "object"});
        if !self.properties.is_empty() {
            schema["properties"] =
                self.properties.into_iter().map(|(n, s)| (n.to_owned(), s)).collect::<Map<_, _>>().into();
        }
        if !self.required.is_empty() {
            schema["required"] = self.required.into();
        }
        if side == Side::Request {
            schema["additionalProperties"] = false.into();
        }
        if !self.parts.is_empty() {
            let parts: Vec<Value> = self.parts.into_iter().chain([schema]).collect();
            schema = json!({"allOf": parts});
        }
        schema["description"] = join(docs).into();
        schema
    }
}

/// Documentation comments as one text.
pub(crate) fn join(docs: &[&str]) -> String {
    docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n")
}

/// The schema of a value that may be null.
fn nullable(mut schema: Value) -> Value {
    if schema.get("type").is_none() || schema.get("enum").is_some() {
        return json!({"oneOf": [schema, {"type": "null"}]});
    }
    let kind = schema["type"].take();
    schema["type"] = json!([kind, "null"]);
    schema
}

/// A field that may be left out. In a request null is the same; an answer never has null for it.
impl<T: Wire> Wire for Option<T> {
    fn schema(schemas: &mut Schemas) -> Value {
        T::schema(schemas)
    }

    fn read(value: &Value, at: &At<'_>, reading: &mut Reading) -> Option<Self> {
        T::read(value, at, reading).map(Some)
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(value) => value.write(to),
            None => to.serialize_none(),
        }
    }

    fn of_text(text: &str) -> Value {
        T::of_text(text)
    }

    fn take(name: &'static str, fields: &mut Fields<'_, '_>) -> Option<Self> {
        match fields.get::<T>(name)? {
            Some(value) => fields.read(name, &value),
            None => Some(None),
        }
    }

    fn put<M: SerializeMap>(&self, name: &'static str, to: &mut M) -> Result<(), M::Error> {
        self.as_ref().map_or(Ok(()), |value| value.put(name, to))
    }

    fn note(&self, name: &'static str, names: &mut Vec<&'static str>) {
        names.extend(self.is_some().then_some(name));
    }

    fn describe(name: &'static str, object: &mut ObjectSchema, schemas: &mut Schemas) -> Presence {
        let schema = T::schema(schemas);
        object.properties.push((name, if schemas.side == Side::Request { nullable(schema) } else { schema }));
        Presence::Optional
    }

    fn exemplify(_: &'static str, _: &mut Map<String, Value>) {}
}

/// A field of an answer that is always there, and null if there is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nullable<T>(pub Option<T>);

impl<T: Wire> Wire for Nullable<T> {
    fn schema(schemas: &mut Schemas) -> Value {
        nullable(T::schema(schemas))
    }

    fn read(value: &Value, at: &At<'_>, reading: &mut Reading) -> Option<Self> {
        T::read(value, at, reading).map(|value| Self(Some(value)))
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.write(to)
    }

    fn take(name: &'static str, fields: &mut Fields<'_, '_>) -> Option<Self> {
        <Option<T> as Wire>::take(name, fields).map(Self)
    }

    fn exemplify(name: &'static str, object: &mut Map<String, Value>) {
        object.insert(name.to_owned(), Value::Null);
    }
}

/// A field of a change: left out it stays, and null clears it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    #[default]
    Keep,
    Clear,
    Set(T),
}

impl<T> Change<T> {
    /// What is to become of the value. `None`: it stays.
    pub fn into_option(self) -> Option<Option<T>> {
        match self {
            Self::Keep => None,
            Self::Clear => Some(None),
            Self::Set(value) => Some(Some(value)),
        }
    }
}

impl<T: Wire> Wire for Change<T> {
    fn schema(schemas: &mut Schemas) -> Value {
        nullable(T::schema(schemas))
    }

    fn read(value: &Value, at: &At<'_>, reading: &mut Reading) -> Option<Self> {
        T::read(value, at, reading).map(Self::Set)
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Set(value) => value.write(to),
            Self::Keep | Self::Clear => to.serialize_none(),
        }
    }

    fn take(name: &'static str, fields: &mut Fields<'_, '_>) -> Option<Self> {
        let cleared = matches!(fields.source, Source::Object(object) if object.get(name).is_some_and(Value::is_null));
        match <Option<T> as Wire>::take(name, fields)? {
            Some(value) => Some(Self::Set(value)),
            None if cleared => Some(Self::Clear),
            None => Some(Self::Keep),
        }
    }

    fn put<M: SerializeMap>(&self, name: &'static str, to: &mut M) -> Result<(), M::Error> {
        if matches!(self, Self::Keep) { Ok(()) } else { to.serialize_entry(name, &Written(self)) }
    }

    fn note(&self, name: &'static str, names: &mut Vec<&'static str>) {
        names.extend((!matches!(self, Self::Keep)).then_some(name));
    }

    fn describe(name: &'static str, object: &mut ObjectSchema, schemas: &mut Schemas) -> Presence {
        let schema = Self::schema(schemas);
        object.properties.push((name, schema));
        Presence::Optional
    }

    fn exemplify(_: &'static str, _: &mut Map<String, Value>) {}
}

/// The fields of another object, among those of the object that it is a field of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flat<T>(pub T);

impl<T: Object> Wire for Flat<T> {
    fn schema(schemas: &mut Schemas) -> Value {
        T::schema(schemas)
    }

    fn read(value: &Value, at: &At<'_>, reading: &mut Reading) -> Option<Self> {
        T::read(value, at, reading).map(Self)
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.write(to)
    }

    fn take(_: &'static str, fields: &mut Fields<'_, '_>) -> Option<Self> {
        T::read_fields(fields).map(Self)
    }

    fn put<M: SerializeMap>(&self, _: &'static str, to: &mut M) -> Result<(), M::Error> {
        self.0.put_fields(to)
    }

    fn note(&self, _: &'static str, names: &mut Vec<&'static str>) {
        names.extend(self.0.given());
    }

    fn describe(_: &'static str, object: &mut ObjectSchema, schemas: &mut Schemas) -> Presence {
        if schemas.side == Side::Query {
            T::describe_fields(object, schemas);
            return Presence::Optional;
        }
        let part = T::schema(schemas);
        object.parts.push(part);
        Presence::Required
    }

    fn exemplify(_: &'static str, object: &mut Map<String, Value>) {
        if let Some(Value::Object(fields)) = T::example() {
            object.extend(fields);
        }
    }
}

fn read_items<T: Wire>(items: &[Value], at: &At<'_>, reading: &mut Reading) -> Option<Vec<T>> {
    let before = reading.faults.len();
    // All are read, so that all faults are found.
    let read: Vec<Option<T>> =
        items.iter().enumerate().map(|(i, item)| T::read(item, &At::Item(at, i), reading)).collect();
    if !T::IS_OBJECT && reading.faults.len() > before {
        // A list of single values is one field with one rule.
        let rule = format!("each item {}", reading.faults.swap_remove(before).detail);
        reading.faults.truncate(before);
        return reading.refuse(at, FieldRule::Invalid, rule);
    }
    read.into_iter().collect()
}

impl<T: Wire> Wire for Vec<T> {
    fn schema(schemas: &mut Schemas) -> Value {
        json!({"type": "array", "items": T::schema(schemas)})
    }

    fn read(value: &Value, at: &At<'_>, reading: &mut Reading) -> Option<Self> {
        match value.as_array() {
            Some(items) => read_items(items, at, reading),
            None => reading.refuse(at, FieldRule::Invalid, "must be a list"),
        }
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter().map(Written))
    }

    fn example() -> Option<Value> {
        Some(T::example().into_iter().collect())
    }
}

/// A list of `MIN` to `MAX` items. No bound above: `usize::MAX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T, const MIN: usize, const MAX: usize>(pub Vec<T>);

impl<T: Wire, const MIN: usize, const MAX: usize> Wire for List<T, MIN, MAX> {
    fn schema(schemas: &mut Schemas) -> Value {
        let mut schema = Vec::<T>::schema(schemas);
        if MIN > 0 {
            schema["minItems"] = MIN.into();
        }
        if MAX < usize::MAX {
            schema["maxItems"] = MAX.into();
        }
        schema
    }

    fn read(value: &Value, at: &At<'_>, reading: &mut Reading) -> Option<Self> {
        match value.as_array().filter(|items| (MIN..=MAX).contains(&items.len())) {
            Some(items) => read_items(items, at, reading).map(Self),
            None if MAX == usize::MAX => {
                reading.refuse(at, FieldRule::Invalid, format!("must be a list of at least {MIN}"))
            }
            None => reading.refuse(at, FieldRule::Invalid, format!("must be a list of {MIN} to {MAX}")),
        }
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.write(to)
    }

    fn example() -> Option<Value> {
        Vec::<T>::example()
    }
}

/// A list whose items differ from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distinct<T, const MIN: usize, const MAX: usize>(pub Vec<T>);

impl<T: Wire + PartialEq, const MIN: usize, const MAX: usize> Wire for Distinct<T, MIN, MAX> {
    fn schema(schemas: &mut Schemas) -> Value {
        let mut schema = List::<T, MIN, MAX>::schema(schemas);
        schema["uniqueItems"] = true.into();
        schema
    }

    fn read(value: &Value, at: &At<'_>, reading: &mut Reading) -> Option<Self> {
        let List(items) = List::<T, MIN, MAX>::read(value, at, reading)?;
        let distinct = items.iter().enumerate().all(|(i, item)| !items[..i].contains(item));
        reading.judge(at, if distinct { Ok(Self(items)) } else { Err("must name each item once") })
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.write(to)
    }

    fn example() -> Option<Value> {
        Vec::<T>::example()
    }
}

/// Texts by name.
impl Wire for BTreeMap<String, String> {
    fn schema(_: &mut Schemas) -> Value {
        json!({"type": "object", "additionalProperties": {"type": "string"}})
    }

    fn read(value: &Value, at: &At<'_>, reading: &mut Reading) -> Option<Self> {
        let texts = value.as_object().and_then(|object| {
            object.iter().map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned()))).collect()
        });
        reading.judge(at, texts.ok_or("must be an object of strings"))
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self)
    }
}
