//! The manual pages: the command out of its tables, job and report out of their schemas.

use crate::fields;
use crate::roff::Page;
use serde_json::Value;
use std::path::Path;
use stdbox::usage::{COMMANDS, FLAGS, STATUS, SUMMARY};

/// The schema of this name.
fn schema(root: &Path, name: &str) -> Value {
    let text =
        std::fs::read_to_string(root.join("schema").join(name)).expect("the schema is there");
    serde_json::from_str(&text).expect("the schema is JSON")
}

/// stdbox(1).
pub(crate) fn command() -> String {
    let mut page = Page::new("stdbox", 1, SUMMARY);
    page.section("Synopsis");
    for (i, command) in COMMANDS.iter().enumerate() {
        let name = match i {
            0 => format!("[{}]", command.name),
            _ => command.name.to_owned(),
        };
        page.text(&format!("stdbox {name} {}", command.arguments));
    }
    page.section("Description");
    page.text("stdbox reads one JSON job, builds a container out of the host's own file tree with unprivileged namespaces, runs the command of the job in it, ends all that is left, and writes one JSON report. It needs no privilege, no daemon, no image and no configuration file.");
    page.text("The fields of a job are described in stdbox-job(5), those of a report in stdbox-report(5). What stdbox does not protect from is in its README: bugs of the kernel, what is left visible, services that listen in visible places, and the use of resources that are not limited.");
    page.text("SIGTERM, SIGINT and SIGHUP end the job, and its outcome is cancelled then. If stdbox itself is killed, so is all of the job.");
    page.section("Commands");
    for command in COMMANDS {
        page.item(command.name, command.arguments, &sentence(command.summary));
    }
    page.section("Options");
    for flag in FLAGS {
        let text = format!("{} Taken by {}.", sentence(flag.summary), listed(flag.of));
        page.item(flag.name, flag.value.unwrap_or_default(), &text);
    }
    page.item("--version", "", "Show the version.");
    page.item("--help", "", "Show commands, options and exit statuses.");
    page.section("Exit status");
    for (title, meanings) in STATUS {
        page.part(&sentence(title));
        for (status, meaning) in meanings {
            page.item(status, "", &sentence(meaning));
        }
    }
    page.section("Examples");
    page.text("Run a command that may change what it likes, and leave the host as it was:");
    page.example("echo '{\"argv\":[\"sh\",\"-c\",\"echo hello > /var/tmp/greeting; cat /var/tmp/greeting\"],\"cwd\":\"/\"}' | stdbox");
    page.text("See what would be done for it:");
    page.example("echo '{\"argv\":[\"true\"],\"cwd\":\"/\"}' | stdbox plan --text");
    page.text("See what this host allows:");
    page.example("stdbox doctor --text");
    page.section("See also");
    page.text("stdbox-job(5), stdbox-report(5), namespaces(7), user_namespaces(7), cgroups(7), seccomp(2)");
    page.done()
}

/// stdbox-job(5) and stdbox-report(5).
pub(crate) fn format(root: &Path, name: &str) -> String {
    let schema = schema(root, &format!("{name}.json"));
    let title = format!("stdbox-{name}");
    let summary = schema["title"].as_str().unwrap_or_default();
    let mut page = Page::new(&title, 5, &format!("{summary}: the fields"));
    page.section("Description");
    page.text(schema["description"].as_str().unwrap_or_default());
    page.text(&format!("This page is made of the JSON Schema that stdbox schema {name} prints. A dot leads to a field of an object, [] to the items of an array."));
    page.section("Fields");
    for field in fields::all(&schema) {
        page.item(&field.path, &format!("({})", field.takes), &field.text);
    }
    if name == "report" {
        page.section("Error codes");
        let codes = schema
            .pointer("/$defs/error_code/oneOf")
            .and_then(Value::as_array);
        for code in codes.into_iter().flatten() {
            let text = |key: &str| code[key].as_str().unwrap_or_default();
            page.item(text("const"), "", text("description"));
        }
    }
    page.section("See also");
    let other = if name == "job" { "report" } else { "job" };
    page.text(&format!("stdbox(1), stdbox-{other}(5)"));
    page.done()
}

/// With a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase).into_iter().flatten();
    format!("{}.", first.chain(letters).collect::<String>())
}

/// Words as one reads them out.
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}
