//! The schema as a list of places in a job, each with the faults that a value can have there.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use stdbox::problem::Code;

/// The JSON types.
pub(crate) const TYPES: [&str; 6] = ["null", "boolean", "number", "string", "array", "object"];

/// Codes that a job alone can give; the others need a host.
pub(crate) const OF_THE_JOB: [Code; 14] = [
    Code::MissingField,
    Code::UnknownValue,
    Code::OutOfRange,
    Code::Empty,
    Code::NulByte,
    Code::TooLong,
    Code::BadBase64,
    Code::BadName,
    Code::Contradiction,
    Code::NotAbsolute,
    Code::ParentComponent,
    Code::ProcDirectory,
    Code::DuplicateDirectory,
    Code::UnsupportedVersion,
];

/// Faults by place. `*` stands for any index or key, `{}` for the key itself, and `:bind` for the form of an object that has
/// this `type`.
#[derive(Default)]
pub(crate) struct Sites(pub(crate) BTreeMap<String, BTreeSet<String>>);

pub(crate) fn sites(schema: &Value) -> Sites {
    let mut sites = Sites::default();
    for (key, property) in schema["properties"].as_object().unwrap() {
        sites.walk(schema, property, &format!("/{key}"));
    }
    sites
}

/// The schema that a reference stands for, with what stands beside it.
fn resolved(schema: &Value, node: &Value) -> Value {
    let mut own = node.as_object().unwrap().clone();
    let mut parts: Vec<Value> = Vec::new();
    if let Some(to) = own.remove("$ref") {
        let target = schema.pointer(to.as_str().unwrap().trim_start_matches('#'));
        parts.push(resolved(schema, target.unwrap()));
    }
    if let Some(Value::Array(all)) = own.remove("allOf") {
        parts.extend(all.iter().map(|part| resolved(schema, part)));
    }
    let mut whole = serde_json::Map::new();
    let mut words = String::new();
    for part in parts.into_iter().chain([Value::Object(own)]) {
        for (key, value) in part.as_object().unwrap() {
            match (key.as_str(), value) {
                ("description", Value::String(text)) => words = format!("{words} {text}"),
                ("pattern", _) if whole.contains_key("pattern") => {
                    whole.insert("narrower".into(), value.clone());
                }
                _ => drop(whole.insert(key.clone(), value.clone())),
            }
        }
    }
    whole.insert("description".into(), words.into());
    Value::Object(whole)
}

/// The forms that a value can have: each with one JSON type.
fn forms(schema: &Value, node: &Value) -> Vec<Value> {
    let node = resolved(schema, node);
    if node.get("type").is_none() {
        for key in ["anyOf", "oneOf"] {
            if let Some(list) = node[key].as_array() {
                return list.iter().flat_map(|one| forms(schema, one)).collect();
            }
        }
    }
    let types: Vec<String> = match (&node["type"], &node["const"]) {
        (Value::String(one), _) => vec![one.clone()],
        (Value::Array(list), _) => list
            .iter()
            .map(|one| one.as_str().unwrap().to_owned())
            .collect(),
        // Words need no type.
        _ => vec!["string".to_owned()],
    };
    let single = |kind: String| {
        let mut form = node.clone();
        form["type"] = kind.into();
        form
    };
    types.into_iter().map(single).collect()
}

impl Sites {
    fn add(&mut self, site: &str, fault: impl Into<String>) {
        self.0
            .entry(site.to_owned())
            .or_default()
            .insert(fault.into());
    }

    fn walk(&mut self, schema: &Value, node: &Value, site: &str) {
        self.0.entry(site.to_owned()).or_default();
        self.described(
            resolved(schema, node)["description"].as_str().unwrap(),
            site,
        );
        let forms = forms(schema, node);
        for kind in TYPES {
            let taken = |form: &Value| {
                form["type"] == kind || (form["type"] == "integer" && kind == "number")
            };
            if !forms.iter().any(taken) {
                self.add(site, format!("type {kind}"));
            }
        }
        for form in &forms {
            match form["type"].as_str().unwrap() {
                "integer" | "number" => self.number(form, site),
                "string" => self.string(form, site),
                "array" => self.array(schema, form, site),
                "object" => {
                    // Where another form needs nothing, nothing is missing.
                    let bare =
                        |form: &Value| form["type"] == "object" && form.get("required").is_none();
                    let needs = !forms.iter().any(bare);
                    self.object(schema, form, site, needs);
                }
                _ => {}
            }
        }
        let objects = forms.iter().filter(|form| form["type"] == "object");
        if objects.clone().count() > 1 && !site.ends_with("mounts/*") {
            self.add(site, "two forms");
        }
    }

    /// What a description says is refused, is refused.
    fn described(&mut self, words: &str, site: &str) {
        for code in OF_THE_JOB {
            let name = code.as_str();
            let says = |before: &str| words.contains(&format!("{before}{name}"));
            if says("as ") || says("else ") || says("(else ") || says("otherwise ") || says("be ") {
                self.add(site, format!("code {name}"));
            }
        }
    }

    fn number(&mut self, form: &Value, site: &str) {
        if form["type"] == "integer" {
            for fault in ["fraction", "exponent", "negative", "huge"] {
                self.add(site, fault);
            }
        }
        let least = form.get("exclusiveMinimum").or(form.get("minimum"));
        if least.is_some_and(|least| *least != json!(0) || form["type"] == "number") {
            self.add(site, "below");
        }
        if form
            .get("maximum")
            .is_some_and(|most| *most != json!(u64::MAX))
        {
            self.add(site, "above");
        }
        if form.get("const").is_some() {
            self.add(site, "below");
            self.add(site, "above");
        }
    }

    fn string(&mut self, form: &Value, site: &str) {
        if form.get("const").is_some() || form.get("enum").is_some() {
            // The kinds of mounts are words in six places.
            return self.add(site, "word");
        }
        let own: serde_json::Map<String, Value> = form
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| ["type", "pattern", "minLength", "maxLength"].contains(&&***key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let validator = jsonschema::draft202012::new(&Value::Object(own)).unwrap();
        let takes = |text: &str| validator.is_valid(&text.into());
        let base64 = form["pattern"]
            .as_str()
            .is_some_and(|p| p.starts_with("^([A-Za-z0-9+/]{4})*"));
        if base64 {
            self.add(site, "base64");
            // The bytes of a path, an argument, a name.
            if site.ends_with("/base64") && form.get("maxLength").is_some() {
                self.add(site, "nul");
                self.add(site, "long");
            }
        } else if form.get("pattern").is_some() {
            if !["/a\0", "a\0", "CAP_\0", "4.8\0"]
                .iter()
                .any(|text| takes(text))
            {
                self.add(site, "nul");
            }
            if takes("/a") && !takes("a") {
                self.add(site, "relative");
                self.add(site, "parent");
            }
        }
        if form["narrower"].is_string() {
            self.add(site, "relative");
            self.add(site, "parent");
            self.add(site, "empty");
        }
        if form.get("maxLength").is_some() {
            self.add(site, "long");
        }
        if !takes("") {
            self.add(site, "empty");
        }
    }

    fn array(&mut self, schema: &Value, form: &Value, site: &str) {
        if form.get("minItems").is_some() {
            self.add(site, "empty");
        }
        if form.get("maxItems").is_some() {
            self.add(site, "long");
        }
        if form["uniqueItems"] == json!(true) {
            self.add(site, "twice");
        }
        for (i, item) in form["prefixItems"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            self.walk(schema, item, &format!("{site}/{i}"));
        }
        self.walk(schema, &form["items"], &format!("{site}/*"));
    }

    fn object(&mut self, schema: &Value, form: &Value, site: &str, needs: bool) {
        let empty = serde_json::Map::new();
        let properties = form["properties"].as_object().unwrap_or(&empty);
        let site = match properties.get("type").map(|kind| &kind["const"]) {
            Some(Value::String(kind)) => format!("{site}:{kind}"),
            _ => site.to_owned(),
        };
        if form["additionalProperties"] == json!(false) {
            self.add(&site, "key");
        }
        let required = form["required"].as_array().filter(|_| needs);
        for key in required.into_iter().flatten() {
            self.add(&site, format!("without {}", key.as_str().unwrap()));
        }
        // Exactly one of several fields.
        if let Some(list) = form["oneOf"].as_array() {
            self.add(&site, "two forms");
            let keys = list.iter().map(|one| one["required"][0].as_str().unwrap());
            self.add(
                &site,
                format!("without {}", keys.collect::<Vec<_>>().join(" or ")),
            );
        }
        if form["propertyNames"].is_object() {
            let key = format!("{site}/{{}}");
            for name in forms(schema, &form["propertyNames"]) {
                self.string(&name, &key);
            }
        }
        if form["additionalProperties"].is_object() {
            self.walk(schema, &form["additionalProperties"], &format!("{site}/*"));
        }
        for (key, property) in properties {
            self.walk(schema, property, &format!("{site}/{key}"));
        }
    }
}
