//! Which claims are the same.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// How deep claims can be; the server refuses what is deeper.
const DEEPEST: usize = 16;

/// The same text for JSON objects that differ in white space, the order of names and the
/// spelling of strings alone. Whatever a server may refuse, as it does a name that stands
/// twice, is only itself: a token kept for one request must not answer another that would
/// have got an error.
pub(crate) fn canonical(text: &str) -> String {
    if text.is_empty() {
        return "{}".into();
    }
    let mut out = String::new();
    match read::<&RawValue>(text).and_then(|value| write(value.get(), &mut out, 0)) {
        Some(()) => out,
        None => format!("?{text}"), // which no canonical form begins with
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    serde_json::from_str(text).ok()
}

/// Writes a value; None if it has no canonical form.
fn write(text: &str, out: &mut String, depth: usize) -> Option<()> {
    if depth > DEEPEST {
        return None;
    }
    match text.as_bytes().first()? {
        b'{' => {
            out.push('{');
            for (name, value) in read::<Members>(text)?.0 {
                write_string(&name, out)?;
                out.push(':');
                write(value.get(), out, depth + 1)?;
                out.push(',');
            }
            out.push('}');
        }
        b'[' => {
            out.push('[');
            for value in read::<Vec<&RawValue>>(text)? {
                write(value.get(), out, depth + 1)?;
                out.push(',');
            }
            out.push(']');
        }
        b'"' => write_string(&read::<String>(text)?, out)?,
        _ => out.push_str(text), // a number as it is spelt, or a word
    }
    Some(())
}

fn write_string(s: &str, out: &mut String) -> Option<()> {
    out.push_str(&serde_json::to_string(s).ok()?);
    Some(())
}

/// The members of an object in the order of their names, none of which stands twice.
struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = BTreeMap<String, &'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name stands twice"));
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Reader).map(Members)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn equal_claims_share_a_form() {
        let same: &[&[&str]] = &[
            &["", "{}", " { } "],
            &[
                r#"{"a":1,"b":[1,{"d":null,"c":true}]}"#,
                "{ \"b\" : [1,{\"c\":true,\"d\":null}],\n\"a\":1}",
            ],
            &[r#"{"a":"é/"}"#, r#"{"a":"\u00e9\/"}"#, r#"{"\u0061":"é/"}"#],
            &[r#"{"a":"😀"}"#, r#"{"a":"\ud83d\ude00"}"#],
        ];
        for texts in same {
            for text in *texts {
                assert_eq!(canonical(text), canonical(texts[0]), "{text}");
            }
        }
    }

    #[test]
    fn other_claims_do_not() {
        let deep = "[".repeat(10_000);
        let nested = format!("{}{}", "[".repeat(20), "]".repeat(20));
        let texts = [
            "{}",
            r#"{"a":1}"#,
            r#"{"a":1,}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":2,"a":1}"#,
            r#"{"a":1} x"#,
            r#"{"a":1}{}"#,
            r#"{"a":"1"}"#,
            r#"{"a":1.0}"#,
            r#"{"a":1e0}"#,
            r#"{"a":-0}"#,
            r#"{"a":0}"#,
            r#"{"a":01}"#,
            r#"{"a":[1]}"#,
            r#"{"a":[[1]]}"#,
            r#"{"a":9007199254740993}"#,
            r#"{"a":9007199254740992}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\udc00"}"#,
            r#"{"a":"\ufffd"}"#,
            r#"{"\ud800":1}"#,
            r#"{"A":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            "null",
            "[]",
            "\"a\"",
            "{",
            " ",
            &deep,
            &nested,
        ];
        let mut seen = HashMap::new();
        for text in texts {
            if let Some(other) = seen.insert(canonical(text), text) {
                panic!("{text} shares the form of {other}");
            }
        }
        // What has no form is itself alone, white space and all.
        assert_ne!(
            canonical(r#"{"a":1,"a":1}"#),
            canonical(r#"{"a":1, "a":1}"#)
        );
    }
}
