//! The macros that declare types of the API. What they make is an implementation of [`crate::wire::Wire`].

/// A field's name on the wire: the Rust name in camel case, or another one that is given.
macro_rules! name {
    ($field:ident) => {{
        const RUST: &str = stringify!($field);
        const BUFFER: ([u8; RUST.len()], usize) = $crate::declare::camel_case::<{ RUST.len() }>(RUST);
        const NAME: &str = match std::str::from_utf8(BUFFER.0.split_at(BUFFER.1).0) {
            Ok(name) => name,
            Err(_) => panic!("an identifier is ASCII"),
        };
        NAME
    }};
    ($field:ident $name:literal) => {
        $name
    };
}

/// The characters of an identifier in camel case, and how many there are.
pub(crate) const fn camel_case<const N: usize>(name: &str) -> ([u8; N], usize) {
    let (from, mut to, mut length, mut i, mut upper) = (name.as_bytes(), [0; N], 0, 0, false);
    while i < from.len() {
        if from[i] == b'_' {
            upper = true;
        } else {
            to[length] = if upper { from[i].to_ascii_uppercase() } else { from[i] };
            length += 1;
            upper = false;
        }
        i += 1;
    }
    (to, length)
}

/// Declares objects. A field is declared as
///
/// ```text
/// /// Its description.
/// field_name as "nameOnTheWire": Type [default value] = example,
/// ```
///
/// The name is in camel case unless `as` gives another one. A field is required unless its type says otherwise ([`Option`],
/// [`Change`](crate::wire::Change)) or it has a default. `[assumed value]` in place of a default is for an [`Option`]: the
/// description calls it the default, and the handler still sees whether the field was given. The example is that of the type unless one is given; an optional
/// field without one is not in the example.
macro_rules! object {
    ($(
        $(#[doc = $doc:literal])*
        $(#[derive($($derive:ident),*)])?
        pub struct $object:ident {
            $(
                $(#[doc = $about:literal])*
                $field:ident $(as $name:literal)?: $type:ty $([default $default:expr])? $([assumed $assumed:expr])? $(= $example:expr)?
            ),* $(,)?
        }
    )*) => {$(
        $(#[doc = $doc])*
        $(#[derive($($derive),*)])?
        pub struct $object {
            $($(#[doc = $about])* pub $field: $type,)*
        }

        impl $crate::wire::Object for $object {
            fn read_fields(fields: &mut $crate::wire::Fields<'_, '_>) -> Option<Self> {
                // All are read before the first fault ends it, so that all faults are found.
                $(let $field = object!(@take fields, $type, name!($field $($name)?) $(, $default)?);)*
                Some(Self { $($field: $field?,)* })
            }

            fn put_fields<M: serde::ser::SerializeMap>(&self, to: &mut M) -> Result<(), M::Error> {
                $($crate::wire::Wire::put(&self.$field, name!($field $($name)?), to)?;)*
                Ok(())
            }

            fn describe_fields(object: &mut $crate::wire::ObjectSchema, schemas: &mut $crate::wire::Schemas) {
                $(object.field::<$type>(
                    name!($field $($name)?),
                    &[$($about),*],
                    object!(@default $type $(, $default)?),
                    object!(@default $type $(, Some($assumed))?),
                    schemas,
                );)*
            }

            fn given(&self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $($crate::wire::Wire::note(&self.$field, name!($field $($name)?), &mut names);)*
                names
            }
        }

        impl $crate::wire::Wire for $object {
            const IS_OBJECT: bool = true;

            fn schema(schemas: &mut $crate::wire::Schemas) -> serde_json::Value {
                let mut object = $crate::wire::ObjectSchema::default();
                <Self as $crate::wire::Object>::describe_fields(&mut object, schemas);
                let schema = object.into_value(&[$($doc),*], schemas.side);
                schemas.name(stringify!($object), schema)
            }

            fn read(
                value: &serde_json::Value,
                at: &$crate::wire::At<'_>,
                reading: &mut $crate::wire::Reading,
            ) -> Option<Self> {
                let mut fields = $crate::wire::Fields::of_object(value, *at, reading)?;
                let object = <Self as $crate::wire::Object>::read_fields(&mut fields);
                fields.finish();
                object
            }

            fn write<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let mut map = to.serialize_map(None)?;
                $crate::wire::Object::put_fields(self, &mut map)?;
                serde::ser::SerializeMap::end(map)
            }

            fn example() -> Option<serde_json::Value> {
                let mut object = serde_json::Map::new();
                $(object!(@example object, $type, name!($field $($name)?) $(, $example)?);)*
                Some(object.into())
            }
        }

        impl serde::Serialize for $object {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                $crate::wire::Wire::write(self, to)
            }
        }
    )*};
    (@take $fields:ident, $type:ty, $name:expr) => { <$type as $crate::wire::Wire>::take($name, $fields) };
    (@take $fields:ident, $type:ty, $name:expr, $default:expr) => { $fields.take_or::<$type>($name, $default) };
    (@default $type:ty) => { None };
    (@default $type:ty, $default:expr) => { Some($crate::wire::to_json::<$type>(&$default)) };
    (@example $object:ident, $type:ty, $name:expr) => {
        <$type as $crate::wire::Wire>::exemplify($name, &mut $object)
    };
    (@example $object:ident, $type:ty, $name:expr, $example:expr) => {
        $object.insert($name.to_owned(), serde_json::Value::from($example))
    };
}

/// Declares types that are one of several. The first that fits is read.
macro_rules! one_of {
    ($(
        $(#[doc = $doc:literal])*
        $(#[expect($lint:path, reason = $reason:literal)])?
        pub enum $name:ident { $($variant:ident($type:ty)),* $(,)? }
    )*) => {$(
        $(#[doc = $doc])*
        $(#[expect($lint, reason = $reason)])?
        pub enum $name { $($variant($type)),* }

        impl $crate::wire::Wire for $name {
            fn schema(schemas: &mut $crate::wire::Schemas) -> serde_json::Value {
                let choices = [$(<$type as $crate::wire::Wire>::schema(schemas)),*];
                let description = $crate::wire::join(&[$($doc),*]);
                schemas.name(stringify!($name), serde_json::json!({"description": description, "oneOf": choices}))
            }

            fn read(
                value: &serde_json::Value,
                at: &$crate::wire::At<'_>,
                reading: &mut $crate::wire::Reading,
            ) -> Option<Self> {
                let before = reading.faults.len();
                $(
                    if let Some(read) = <$type as $crate::wire::Wire>::read(value, at, reading) {
                        reading.faults.truncate(before);
                        return Some(Self::$variant(read));
                    }
                )*
                None
            }

            fn write<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$variant(it) => $crate::wire::Wire::write(it, to)),* }
            }

            fn example() -> Option<serde_json::Value> {
                [$(<$type as $crate::wire::Wire>::example()),*].into_iter().next().flatten()
            }
        }
    )*};
}

/// Declares enumerations that only the API has.
macro_rules! words {
    ($(
        $(#[doc = $doc:literal])*
        pub enum $name:ident { $($variant:ident = $word:literal),* $(,)? }
    )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($variant),* }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        word!(stringify!($name), $name, $name::ALL, $name::as_str, [$($doc),*]);
    )*};
}

/// Implements [`Wire`](crate::wire::Wire) for an enumeration: its name in the description, all its values, and their words.
macro_rules! word {
    ($schema:expr, $type:ty, $all:expr, $as_str:expr, [$($doc:literal),*]) => {
        impl $crate::wire::Wire for $type {
            fn schema(schemas: &mut $crate::wire::Schemas) -> serde_json::Value {
                let words: Vec<&str> = $all.iter().copied().map($as_str).collect();
                let description = $crate::wire::join(&[$($doc),*]);
                schemas.name($schema, serde_json::json!({"type": "string", "description": description, "enum": words}))
            }

            fn read(
                value: &serde_json::Value,
                at: &$crate::wire::At<'_>,
                reading: &mut $crate::wire::Reading,
            ) -> Option<Self> {
                let found = $all.iter().copied().find(|word| value.as_str() == Some($as_str(*word)));
                reading.judge(at, found.ok_or_else(|| {
                    format!("must be {}", $crate::words::alternatives($all.iter().copied().map($as_str)))
                }))
            }

            fn write<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str($as_str(*self))
            }
        }

        impl From<$type> for $crate::words::Word<$type> {
            fn from(word: $type) -> Self {
                Self::new($as_str(word))
            }
        }
    };
}

/// Declares texts of answers that have a schema of their own, and an example.
macro_rules! text {
    ($(
        $(#[doc = $doc:literal])*
        pub struct $name:ident: $schema:tt $(= $example:expr)?;
    )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub String);

        leaf!($name, $schema, |value| value.as_str().map(|text| $name(text.to_owned())).ok_or("must be a string"),
            |it| it.0.as_str() $(, $example)?);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    )*};
}

/// Implements [`Wire`](crate::wire::Wire) for a single value: its schema, how it is read and written, and an example.
macro_rules! leaf {
    ($type:ty, $schema:tt, |$value:ident| $read:expr, |$it:ident| $write:expr $(, $example:expr)?) => {
        impl $crate::wire::Wire for $type {
            fn schema(_: &mut $crate::wire::Schemas) -> serde_json::Value {
                serde_json::json!($schema)
            }

            leaf!(@read |$value| $read, |$it| $write);

            $(fn example() -> Option<serde_json::Value> {
                Some(serde_json::Value::from($example))
            })?
        }
    };
    (@read |$value:ident| $read:expr, |$it:ident| $write:expr) => {
        fn read(
            $value: &serde_json::Value,
            at: &$crate::wire::At<'_>,
            reading: &mut $crate::wire::Reading,
        ) -> Option<Self> {
            reading.judge(at, $read)
        }

        fn write<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            let $it = self;
            serde::Serialize::serialize(&$write, to)
        }
    };
}
