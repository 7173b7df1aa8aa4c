//! JSON that says what it was made of.

use std::fmt;

use serde::{
    Serialize, Serializer,
    ser::{
        self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};

/// The JSON of a value, or why there is none. `serde_json` alone writes null for a number
/// that is infinite or none.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String, String> {
    value
        .serialize(Finite)
        .map_err(|e| format!("cannot be written as JSON: {e}"))?;
    serde_json::to_string(value).map_err(|e| format!("cannot be written as JSON: {e}"))
}

/// Looks through a value for numbers that JSON does not have.
#[derive(Clone, Copy)]
struct Finite;

#[derive(Debug)]
struct Unsayable(String);

impl fmt::Display for Unsayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsayable {}

impl ser::Error for Unsayable {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

type Seen = Result<(), Unsayable>;

fn finite(yes: bool) -> Seen {
    if yes {
        Ok(())
    } else {
        Err(Unsayable("a number that is not finite".into()))
    }
}

macro_rules! fine {
    ($($method:ident($($kind:ty),*)),+ $(,)?) => {
        $(fn $method(self, $(_: $kind),*) -> Seen { Ok(()) })+
    };
}

macro_rules! compound {
    ($($method:ident($($kind:ty),*)),+ $(,)?) => {
        $(fn $method(self, $(_: $kind),*) -> Result<Self, Unsayable> { Ok(self) })+
    };
}

type Name = &'static str;

impl Serializer for Finite {
    type Ok = ();
    type Error = Unsayable;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fine! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32),
        serialize_i64(i64), serialize_i128(i128), serialize_u8(u8), serialize_u16(u16),
        serialize_u32(u32), serialize_u64(u64), serialize_u128(u128), serialize_char(char),
        serialize_str(&str), serialize_bytes(&[u8]), serialize_none(), serialize_unit(),
        serialize_unit_struct(Name), serialize_unit_variant(Name, u32, Name),
    }

    compound! {
        serialize_seq(Option<usize>),
        serialize_tuple(usize),
        serialize_tuple_struct(Name, usize),
        serialize_tuple_variant(Name, u32, Name, usize),
        serialize_map(Option<usize>),
        serialize_struct(Name, usize),
        serialize_struct_variant(Name, u32, Name, usize),
    }

    fn serialize_f32(self, v: f32) -> Seen {
        finite(v.is_finite())
    }

    fn serialize_f64(self, v: f64) -> Seen {
        finite(v.is_finite())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Seen {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: Name, value: &T) -> Seen {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: Name,
        _: u32,
        _: Name,
        value: &T,
    ) -> Seen {
        value.serialize(self)
    }
}

macro_rules! elements {
    ($($kind:ident $method:ident),+) => {
        $(impl $kind for Finite {
            type Ok = ();
            type Error = Unsayable;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Seen {
                value.serialize(*self)
            }

            fn end(self) -> Seen {
                Ok(())
            }
        })+
    };
}

elements!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

macro_rules! fields {
    ($($kind:ident),+) => {
        $(impl $kind for Finite {
            type Ok = ();
            type Error = Unsayable;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: Name, value: &T) -> Seen {
                value.serialize(*self)
            }

            fn end(self) -> Seen {
                Ok(())
            }
        })+
    };
}

fields!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for Finite {
    type Ok = ();
    type Error = Unsayable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Seen {
        key.serialize(*self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Seen {
        value.serialize(*self)
    }

    fn end(self) -> Seen {
        Ok(())
    }
}
