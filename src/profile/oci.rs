//! The `seccomp` object of the OCI runtime specification (config-linux.md), in the dialects of Docker and Podman. Ring 0.
//!
//! A profile means what it means to the engines, with two exceptions on the safe side: of several rules that match a call the
//! most restrictive counts, while libseccomp forgets the ones with conditions and drops those that end like the default; and
//! x32 calls do not exist, whatever the profile says.

use super::{
    Checked, Circumstances, Flags, Profile, Scope, argument, errno, few, masked, missing, names,
    version,
};
use crate::policy::{Action, Condition, Machine, Names, Rule, Test};
use crate::problem::{Code, Problem};
use crate::spec::filter::{
    ArchMapSpec, NamesSpec, OciAction, OciArgSpec, OciFlag, OciOperator, OciRuleSpec, OciSpec,
    WhereSpec,
};
use crate::text::quote;
use nix::errno::Errno;
use std::rc::Rc;

const AT: &str = "/seccomp/oci";

/// Checks a profile.
///
/// # Errors
/// The first field that makes no sense, or asks for a supervisor.
pub fn profile(spec: &OciSpec) -> Checked<Profile> {
    for (asked, field) in [
        (spec.listener_path.is_some(), "listenerPath"),
        (spec.listener_metadata.is_some(), "listenerMetadata"),
    ] {
        if asked {
            return Err(supervised(&format!("{AT}/{field}")));
        }
    }
    let default = spec
        .default_action
        .ok_or_else(|| missing(AT, "defaultAction"))?;
    let default = action(
        default,
        spec.default_errno_ret,
        spec.default_errno.as_deref(),
        [
            &format!("{AT}/defaultAction"),
            &format!("{AT}/defaultErrnoRet"),
            &format!("{AT}/defaultErrno"),
        ],
    )?;
    let mut rules = Vec::new();
    for (i, spec) in spec.syscalls.iter().flatten().enumerate() {
        rule(spec, &format!("{AT}/syscalls/{i}"), &mut rules)?;
    }
    let flags = spec.flags.as_deref();
    Ok(Profile {
        default,
        rules,
        compat: compat(spec)?,
        newer_absent: !default.lets_through(),
        flags: Flags {
            log: flags.is_some_and(|flags| flags.contains(&OciFlag::Log)),
            spec_allow: flags.is_none_or(|flags| flags.contains(&OciFlag::SpecAllow)),
        },
    })
}

fn supervised(at: &str) -> Problem {
    Problem::at(
        Code::NotImplemented,
        at,
        "This asks for a supervisor that decides about system calls, which stdbox does not have.",
    )
    .hint("Use SCMP_ACT_ERRNO, SCMP_ACT_TRAP, SCMP_ACT_KILL_PROCESS or SCMP_ACT_LOG.")
}

fn action(
    action: OciAction,
    number: Option<u64>,
    name: Option<&str>,
    [at, at_number, at_name]: [&str; 3],
) -> Checked<Action> {
    let given = name.filter(|name| !name.is_empty());
    let plain = match action {
        OciAction::Errno => {
            // The number counts; a name beside it is a note.
            let number = match (number, given) {
                (Some(number), _) => number,
                (None, Some(name)) => named(name, at_name)?,
                (None, None) => u64::from(Errno::EPERM as u16),
            };
            return errno(number, 0, at_number);
        }
        OciAction::Trace | OciAction::Notify => return Err(supervised(at)),
        OciAction::Allow => Action::Allow,
        OciAction::Log => Action::Log,
        OciAction::Trap => Action::Trap,
        OciAction::Kill | OciAction::KillThread => Action::KillThread,
        OciAction::KillProcess => Action::KillProcess,
    };
    if number.is_some() || given.is_some() {
        let at = if number.is_some() { at_number } else { at_name };
        return Err(Problem::at(
            Code::Contradiction,
            at,
            "Only SCMP_ACT_ERRNO has an error number.",
        ));
    }
    Ok(plain)
}

/// The number of an error by its name in errno(3).
fn named(name: &str, at: &str) -> Checked<u64> {
    let same = match name {
        "EWOULDBLOCK" => "EAGAIN",
        "EDEADLOCK" => "EDEADLK",
        "ENOTSUP" => "EOPNOTSUPP",
        other => other,
    };
    (1..=133)
        .map(|number| (number, Errno::from_raw(number)))
        // There are numbers without a name.
        .find(|(_, error)| *error != Errno::UnknownErrno && format!("{error:?}") == same)
        .map(|(number, _)| number)
        .map(|number| u64::from(number.unsigned_abs()))
        .ok_or_else(|| {
            Problem::at(
                Code::UnknownValue,
                at,
                format!("{} is not the name of an error.", quote(name)),
            )
        })
}

/// Whether the profile covers the 32-bit ABI. The machine's own is always covered.
fn compat(spec: &OciSpec) -> Checked<bool> {
    let (own, other, _) = machine();
    let list = spec.architectures.as_deref().unwrap_or_default();
    let map = spec.arch_map.as_deref().unwrap_or_default();
    for (i, name) in list.iter().enumerate() {
        architecture(name, &format!("{AT}/architectures/{i}"))?;
    }
    for (i, entry) in map.iter().enumerate() {
        let at = format!("{AT}/archMap/{i}");
        let name = entry.architecture.as_deref();
        architecture(
            name.ok_or_else(|| missing(&at, "architecture"))?,
            &format!("{at}/architecture"),
        )?;
        for (n, name) in entry.sub_architectures.iter().flatten().enumerate() {
            architecture(name, &format!("{at}/subArchitectures/{n}"))?;
        }
    }
    if !list.is_empty() && !map.is_empty() {
        return Err(Problem::at(
            Code::Contradiction,
            format!("{AT}/archMap"),
            "Only one of \"architectures\", \"archMap\" can be given.",
        ));
    }
    let here = |entry: &&ArchMapSpec| entry.architecture.as_deref() == Some(own);
    let mut beside = map
        .iter()
        .find(here)
        .into_iter()
        .flat_map(|entry| entry.sub_architectures.iter().flatten());
    Ok(list.iter().any(|name| name == other) || beside.any(|name| name == other))
}

/// The machine's own ABI and the 32-bit one in libseccomp's names, and the machine in Go's.
#[must_use]
pub fn machine() -> (&'static str, &'static str, &'static str) {
    match Machine::NATIVE {
        Machine::X86_64 => ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "amd64"),
        Machine::Aarch64 => ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "arm64"),
    }
}

fn architecture(name: &str, at: &str) -> Checked<()> {
    let rest = name.strip_prefix("SCMP_ARCH_").unwrap_or_default();
    let letters = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    let code = if name.len() > 64 {
        Code::TooLong
    } else if rest.is_empty() || !rest.bytes().all(letters) {
        Code::BadName
    } else {
        return Ok(());
    };
    Err(Problem::at(
        code,
        at,
        format!(
            "{} is not an architecture, such as SCMP_ARCH_X86_64.",
            quote(name)
        ),
    ))
}

fn rule(spec: &OciRuleSpec, at: &str, rules: &mut Vec<(Scope, Rule)>) -> Checked<()> {
    // The form with one name is the older one.
    let names = match (&spec.name, &spec.names) {
        (None, Some(NamesSpec(names))) => names.clone(),
        (Some(name), None) => Rc::new(vec![name.clone()]),
        (None, None) => return Err(missing(at, "names")),
        (Some(_), Some(_)) => {
            return Err(Problem::at(
                Code::Contradiction,
                format!("{at}/name"),
                "Only one of \"name\", \"names\" can be given.",
            ));
        }
    };
    let names = self::names(Names::Given(names), |n| match n {
        Some(n) if spec.name.is_none() => format!("{at}/names/{n}"),
        None => format!("{at}/names"),
        Some(_) => format!("{at}/name"),
    })?;
    let action = spec.action.ok_or_else(|| missing(at, "action"))?;
    let action = self::action(
        action,
        spec.errno_ret,
        spec.errno.as_deref(),
        [
            &format!("{at}/action"),
            &format!("{at}/errnoRet"),
            &format!("{at}/errno"),
        ],
    )?;
    let args = spec.args.as_deref().unwrap_or_default();
    few(args.len(), &format!("{at}/args"))?;
    let conditions: Vec<Condition> = args
        .iter()
        .enumerate()
        .map(|(n, arg)| condition(arg, &format!("{at}/args/{n}")))
        .collect::<Checked<_>>()?;
    let scope = Scope {
        includes: circumstances(spec.includes.as_ref(), &format!("{at}/includes"))?,
        excludes: circumstances(spec.excludes.as_ref(), &format!("{at}/excludes"))?,
    };
    // Engines take several conditions on one argument for alternatives, as libseccomp cannot have them in one rule.
    let repeated = conditions.iter().enumerate().any(|(n, one)| {
        conditions
            .iter()
            .skip(n + 1)
            .any(|other| one.argument == other.argument)
    });
    let alternatives = if repeated {
        conditions
            .into_iter()
            .map(|condition| vec![condition])
            .collect()
    } else {
        vec![conditions]
    };
    rules.extend(alternatives.into_iter().map(|conditions| {
        let rule = Rule {
            names: names.clone(),
            action,
            conditions,
        };
        (scope.clone(), rule)
    }));
    Ok(())
}

fn condition(spec: &OciArgSpec, at: &str) -> Checked<Condition> {
    let index = spec.index.ok_or_else(|| missing(at, "index"))?;
    let value = spec.value.ok_or_else(|| missing(at, "value"))?;
    let argument = argument(index, &format!("{at}/index"))?;
    let test = match spec.op.ok_or_else(|| missing(at, "op"))? {
        OciOperator::NotEqual => Test::NotEqual(value),
        OciOperator::Less => Test::Less(value),
        OciOperator::LessOrEqual => Test::LessOrEqual(value),
        OciOperator::Equal => Test::Equal(value),
        OciOperator::GreaterOrEqual => Test::GreaterOrEqual(value),
        OciOperator::Greater => Test::Greater(value),
        OciOperator::MaskedEqual => masked(
            value,
            spec.value_two.unwrap_or(0),
            &format!("{at}/valueTwo"),
        )?,
    };
    Ok(Condition { argument, test })
}

fn circumstances(spec: Option<&WhereSpec>, at: &str) -> Checked<Circumstances> {
    let Some(spec) = spec else {
        return Ok(Circumstances::default());
    };
    let arches = spec.arches.as_deref().unwrap_or_default();
    for (i, name) in arches.iter().enumerate() {
        if name.len() > 64 {
            let message = "The name of an architecture has at most 64 bytes.";
            return Err(Problem::at(
                Code::TooLong,
                format!("{at}/arches/{i}"),
                message,
            ));
        }
    }
    let caps = spec.caps.as_deref().unwrap_or_default();
    for (i, name) in caps.iter().enumerate() {
        let rest = name.strip_prefix("CAP_").unwrap_or_default();
        if rest.is_empty() || !rest.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') {
            let message = format!(
                "{} is not a capability, such as CAP_SYS_ADMIN.",
                quote(name)
            );
            return Err(Problem::at(
                Code::BadName,
                format!("{at}/caps/{i}"),
                message,
            ));
        }
    }
    let kernel = |text: &String| {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let known = text
            .split_once('.')
            .is_some_and(|(major, minor)| digits(major) && digits(minor));
        version(text).filter(|_| known).ok_or_else(|| {
            Problem::at(
                Code::BadName,
                format!("{at}/minKernel"),
                format!("{} is not a kernel version, such as 4.8.", quote(text)),
            )
        })
    };
    Ok(Circumstances {
        machines: arches.to_vec(),
        capabilities: caps.to_vec(),
        kernel: spec.min_kernel.as_ref().map(kernel).transpose()?,
    })
}
