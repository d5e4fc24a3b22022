//! What the shells complete, out of the tables of the command line.

use std::fmt::Write;
use stdbox::usage::{COMMANDS, FLAGS, Flag};

const MADE: &str = "Made by cargo run --example manual.";

/// Words of `schema`, which takes one of them.
fn schemas() -> Vec<&'static str> {
    let schema = COMMANDS.iter().find(|command| command.name == "schema");
    schema.map_or_else(Vec::new, |command| command.arguments.split('|').collect())
}

fn flags_of(command: &str) -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(move |flag| flag.of.contains(&command))
}

fn names() -> Vec<&'static str> {
    COMMANDS.iter().map(|command| command.name).collect()
}

/// bash(1), "Programmable Completion".
pub(crate) fn bash() -> String {
    let mut cases = String::new();
    for command in COMMANDS {
        let flags: Vec<_> = flags_of(command.name).map(|flag| flag.name).collect();
        let words = match command.name {
            "schema" => schemas(),
            _ => [flags, vec!["--help"]].concat(),
        };
        // Writing into memory cannot fail.
        let _written = writeln!(
            cases,
            "        {}) words='{}' ;;",
            command.name,
            words.join(" ")
        );
    }
    let files: Vec<_> = FLAGS
        .iter()
        .filter(|flag| flag.value == Some("FILE"))
        .collect();
    let files: Vec<_> = files.iter().map(|flag| flag.name).collect();
    let numbers: Vec<_> = FLAGS
        .iter()
        .filter(|flag| flag.value == Some("N"))
        .collect();
    let numbers: Vec<_> = numbers.iter().map(|flag| flag.name).collect();
    format!(
        "# {MADE}\n\
         _stdbox() {{\n\
         \x20   local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command=run words\n\
         \x20   case $before in\n\
         \x20       {}) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n\
         \x20       {}) COMPREPLY=(); return ;;\n\
         \x20   esac\n\
         \x20   [[ $COMP_CWORD -lt 2 || ${{COMP_WORDS[1]}} == -* ]] || command=${{COMP_WORDS[1]}}\n\
         \x20   case $command in\n{cases}\
         \x20       *) words= ;;\n\
         \x20   esac\n\
         \x20   [[ $COMP_CWORD -gt 1 ]] || words=\"{} --version $words\"\n\
         \x20   COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n\
         }}\n\
         complete -F _stdbox stdbox\n",
        files.join("|"),
        numbers.join("|"),
        names().join(" "),
    )
}

/// zshcompsys(1).
pub(crate) fn zsh() -> String {
    let quoted = |text: &str| {
        text.replace('\'', "'\\''")
            .replace([':', '['], " ")
            .replace(']', " ")
    };
    let mut text = format!("#compdef stdbox\n# {MADE}\nlocal -a commands\ncommands=(\n");
    for command in COMMANDS {
        let _written = writeln!(text, "    '{}:{}'", command.name, quoted(command.summary));
    }
    text += ")\nlocal command=run\nif (( CURRENT > 2 )) && [[ $words[2] != -* ]]; then\n    command=$words[2]\nfi\n";
    text += "if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n    _describe command commands\n    return\nfi\ncase $command in\n";
    for command in COMMANDS {
        if command.name == "schema" {
            let _written = writeln!(
                text,
                "    schema) _values schema {} ;;",
                schemas().join(" ")
            );
            continue;
        }
        let _written = writeln!(text, "    {}) _arguments \\", command.name);
        for flag in flags_of(command.name) {
            let value = match flag.value {
                Some("FILE") => ":file:_files",
                Some(_) => ":number: ",
                None => "",
            };
            let equals = if flag.value.is_some() { "=" } else { "" };
            let summary = quoted(flag.summary);
            let _written = writeln!(text, "        '{}{equals}[{summary}]{value}' \\", flag.name);
        }
        text += "        '--help[show all options]' ;;\n";
    }
    text += "esac\n";
    text
}

/// fish's complete(1).
pub(crate) fn fish() -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let mut text = format!("# {MADE}\ncomplete -c stdbox -f\n");
    for command in COMMANDS {
        let summary = quoted(command.summary);
        let _written = writeln!(
            text,
            "complete -c stdbox -n __fish_use_subcommand -a {} -d '{summary}'",
            command.name
        );
    }
    let _written = writeln!(
        text,
        "complete -c stdbox -n '__fish_seen_subcommand_from schema' -a '{}'",
        schemas().join(" ")
    );
    for flag in FLAGS {
        let name = flag.name.trim_start_matches('-');
        let value = match flag.value {
            Some("FILE") => " -r -F",
            Some(_) => " -x",
            None => "",
        };
        let commands = flag.of.join(" ");
        // The first command needs no word.
        let when = match flag.of.first() {
            Some(&"run") => {
                format!("__fish_use_subcommand; or __fish_seen_subcommand_from {commands}")
            }
            _ => format!("__fish_seen_subcommand_from {commands}"),
        };
        let _written = writeln!(
            text,
            "complete -c stdbox -n '{when}' -l {name}{value} -d '{}'",
            quoted(flag.summary)
        );
    }
    text
}
