//! A JSON Schema → its fields, one after the other, with what may stand there.

use serde_json::Value;

/// One field.
pub(crate) struct Field {
    /// Its path: `limits.open_files`, `mounts[].target`.
    pub(crate) path: String,
    /// What may stand there, in a few words.
    pub(crate) takes: String,
    /// What is said of it.
    pub(crate) text: String,
}

/// All fields of a schema, in its order.
pub(crate) fn all(schema: &Value) -> Vec<Field> {
    let mut found = Vec::new();
    properties(schema, schema, "", &mut found);
    found
}

/// What stands behind a reference.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = schema["$ref"]
        .as_str()
        .and_then(|text| text.strip_prefix('#'));
    reference.and_then(|at| root.pointer(at)).unwrap_or(schema)
}

/// The schemas that one may be.
fn choices<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let schema = resolve(root, schema);
    let several = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
    match several {
        // What has fields of its own says in its choices only which of them go together.
        Some(_) if schema["properties"].is_object() => vec![schema],
        Some(list) => list.iter().flat_map(|one| choices(root, one)).collect(),
        None => vec![schema],
    }
}

fn properties(root: &Value, schema: &Value, before: &str, found: &mut Vec<Field>) {
    let choices: Vec<_> = choices(root, schema)
        .into_iter()
        .filter(|choice| !is_base64(choice))
        .collect();
    let mut names: Vec<&str> = Vec::new();
    for choice in &choices {
        let own = choice["properties"].as_object().into_iter().flatten();
        for (name, _) in own {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    names.sort_unstable();
    for name in names {
        let path = format!("{before}{name}");
        let forms: Vec<_> = choices
            .iter()
            .filter_map(|choice| Some((*choice, choice["properties"].get(name)?)))
            .collect();
        let takes = distinct(forms.iter().map(|(_, property)| takes(root, property)));
        found.push(Field {
            takes: takes.join(" | "),
            text: said(root, name, &forms, choices.len()),
            path: path.clone(),
        });
        for (_, property) in forms {
            properties(root, property, &format!("{path}."), found);
            for choice in self::choices(root, property) {
                properties(root, &choice["items"], &format!("{path}[]."), found);
            }
        }
    }
}

/// Each once, in the order of their first.
fn distinct(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept = Vec::new();
    for one in all {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

/// What is said of a field that some of several objects have: where they are told apart by their `type`, each text with the
/// types that it holds for, unless it holds for all.
fn said(root: &Value, name: &str, forms: &[(&Value, &Value)], objects: usize) -> String {
    let mut texts: Vec<(String, Vec<&str>)> = Vec::new();
    for (object, property) in forms {
        let kind = object["properties"]["type"]["const"].as_str();
        let own = property["description"].as_str();
        let text = own.or(resolve(root, property)["description"].as_str());
        let text = [text.unwrap_or_default().to_owned(), words(root, property)];
        let text = text.into_iter().filter(|part| !part.is_empty());
        let text = text.collect::<Vec<_>>().join(" ");
        match texts.iter_mut().find(|(other, _)| *other == text) {
            Some((_, kinds)) => kinds.extend(kind),
            None => texts.push((text, kind.into_iter().collect())),
        }
    }
    let texts = texts.into_iter().map(|(text, kinds)| match kinds[..] {
        [] => text,
        _ if name == "type" || kinds.len() == objects => text,
        _ => format!("({}) {text}", kinds.join(", ")),
    });
    texts.collect::<Vec<_>>().join(" ")
}

/// What is said of the words that may stand there. The codes of errors have a section of their own.
fn words(root: &Value, property: &Value) -> String {
    let behind = resolve(root, property);
    if property["const"].is_string() || property["$ref"] == "#/$defs/error_code" {
        return String::new();
    }
    if property["description"].is_string() && property["$ref"].is_string() {
        let listed = behind["enum"].is_array();
        let text = behind["description"].as_str().filter(|_| listed);
        return text.unwrap_or_default().to_owned();
    }
    let said = choices(root, property).into_iter().filter_map(|choice| {
        let word = choice["const"].as_str()?;
        Some(format!("{word}: {}", choice["description"].as_str()?))
    });
    said.collect::<Vec<_>>().join(" ")
}

/// How bytes stand that are not UTF-8.
fn is_base64(schema: &Value) -> bool {
    let properties = schema["properties"].as_object();
    properties.is_some_and(|properties| properties.keys().eq(["base64"]))
}

/// A value as JSON writes it.
fn word(value: &Value) -> String {
    value.to_string()
}

fn takes(root: &Value, property: &Value) -> String {
    let mut words: Vec<String> = Vec::new();
    for choice in choices(root, property) {
        let word = one(root, choice);
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let mut text = words.join(" | ");
    let default = [property, resolve(root, property)].map(|schema| schema.get("default"));
    if let Some(default) = default.into_iter().flatten().next() {
        text += &format!(", default {default}");
    }
    text
}

fn one(root: &Value, schema: &Value) -> String {
    if is_base64(schema) {
        return "{\"base64\": string}".to_owned();
    }
    if let Some(value) = schema.get("const") {
        return word(value);
    }
    if let Some(list) = schema["enum"].as_array() {
        return list.iter().map(word).collect::<Vec<_>>().join(" | ");
    }
    let bounds = [
        ("minimum", "from"),
        ("exclusiveMinimum", "above"),
        ("maximum", "to"),
    ];
    let bounds =
        bounds.map(|(key, word)| schema.get(key).map(|number| format!(" {word} {number}")));
    let bounds: String = bounds.into_iter().flatten().collect();
    let kind = |kind: &str| match kind {
        "array" => match schema.get("items") {
            Some(items) => format!("array of {}", takes(root, items)),
            None => "array".to_owned(),
        },
        "integer" => format!("whole number{bounds}"),
        "number" => format!("number{bounds}"),
        "boolean" => "true | false".to_owned(),
        other => other.to_owned(),
    };
    match &schema["type"] {
        Value::String(word) => kind(word),
        Value::Array(list) => {
            let words = list.iter().filter_map(Value::as_str).map(kind);
            words.collect::<Vec<_>>().join(" | ")
        }
        _ if schema["properties"].is_object() => kind("object"),
        _ => "any value".to_owned(),
    }
}
