//! Reading JSON field by field so that a surprise in one field costs that field only.
//!
//! Nothing is built that is not wanted: a value of another type is passed over, not stored.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// What one field may be made of. Each method has a default: "not mine".
pub(super) trait Read<'de>: Sized {
    fn text(_: Cow<'de, str>) -> Option<Self> {
        None
    }
    fn whole(_: i64) -> Option<Self> {
        None
    }
    fn fraction(_: f64) -> Option<Self> {
        None
    }
    fn truth(_: bool) -> Option<Self> {
        None
    }
    fn object<A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// A field of any JSON type: `Some` when it was one that `T` reads.
#[derive(Clone, Debug)]
pub(super) struct Field<T>(pub(super) Option<T>);

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Read<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any(PhantomData)).map(Self)
    }
}

struct Any<T>(PhantomData<T>);

impl<'de, T: Read<'de>> Visitor<'de> for Any<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(T::text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(T::text(Cow::Owned(text.to_owned())))
    }
    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(T::text(Cow::Owned(text)))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(T::whole(number))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).ok().and_then(T::whole))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(T::fraction(number))
    }
    fn visit_bool<E>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(T::truth(truth))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::object(map)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        T::list(list)
    }
}

impl<'de: 'a, 'a> Read<'de> for Cow<'a, str> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(text)
    }
}

impl Read<'_> for i64 {
    fn whole(number: i64) -> Option<Self> {
        Some(number)
    }
}

impl Read<'_> for bool {
    fn truth(truth: bool) -> Option<Self> {
        Some(truth)
    }
}

/// Unix milliseconds, from any of Chatwoot's spellings: RFC 3339 text, whole seconds, seconds with a fraction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Millis(pub(super) i64);

impl<'de> Read<'de> for Millis {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|time| Self(time.as_millisecond()))
    }
    fn whole(seconds: i64) -> Option<Self> {
        seconds.checked_mul(1000).map(Self)
    }
    fn fraction(seconds: f64) -> Option<Self> {
        Some(Self((seconds * 1000.0).round() as i64))
    }
}

/// Something that stands there at all: anything but null, `false` and empty text. A text is kept.
#[derive(Clone, Debug)]
pub(super) struct Present<'a>(pub(super) Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Read<'de> for Present<'a> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        (!text.is_empty()).then_some(Self(Some(text)))
    }
    fn whole(_: i64) -> Option<Self> {
        Some(Self(None))
    }
    fn fraction(_: f64) -> Option<Self> {
        Some(Self(None))
    }
    fn truth(truth: bool) -> Option<Self> {
        truth.then_some(Self(None))
    }
    fn object<A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Some(Self(None)))
    }
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Some(Self(None)))
    }
}

/// A JSON object read as `T`, whose own fields are lenient again.
#[derive(Clone, Debug)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Read<'de> for Object<T> {
    fn object<A: MapAccess<'de>>(map: A) -> Result<Option<Self>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|object| Some(Self(object)))
    }
}

/// A JSON list of objects; entries of another type are passed over.
#[derive(Clone, Debug)]
pub(super) struct Objects<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Read<'de> for Objects<T> {
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        let mut objects = Vec::new();
        while let Some(entry) = list.next_element::<Field<Object<T>>>()? {
            objects.extend(entry.0.map(|Object(object)| object));
        }
        Ok(Some(Self(objects)))
    }
}
