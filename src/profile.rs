//! A filter as the job gives it, checked: rules, and on which hosts they count. Ring 0.

pub mod oci;

use crate::policy::{Action, Condition, MAX_CONDITIONS, Names, Policy, Rule, Test, builtin};
use crate::problem::{Code, Problem};
use crate::spec::filter::{ActionSpec, ActionWord, ArgSpec, Operator, RuleSpec};

type Checked<T> = Result<T, Problem>;

/// A filter of the job's own.
#[derive(Clone, PartialEq, Debug)]
pub struct Profile {
    default: Action,
    rules: Vec<(Scope, Rule)>,
    compat: bool,
    newer_absent: bool,
    /// Flags of seccomp(2).
    pub flags: Flags,
}

/// Flags of seccomp(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags {
    /// SECCOMP_FILTER_FLAG_LOG
    pub log: bool,
    /// SECCOMP_FILTER_FLAG_SPEC_ALLOW
    pub spec_allow: bool,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            log: false,
            spec_allow: true,
        }
    }
}

/// On which hosts and for which jobs a rule counts.
#[derive(Clone, PartialEq, Debug, Default)]
struct Scope {
    /// All of this must hold.
    includes: Circumstances,
    /// Nothing of this may hold.
    excludes: Circumstances,
}

/// What a rule may depend on; what is left out does not matter.
#[derive(Clone, PartialEq, Debug, Default)]
struct Circumstances {
    /// Machines under their names in Go.
    machines: Vec<String>,
    /// Capabilities that the target has.
    capabilities: Vec<String>,
    /// The kernel is at least this old.
    kernel: Option<Version>,
}

/// Version of a kernel: its first three numbers.
pub type Version = [u32; 3];

/// The version in a release's name (uname(2)), such as `6.1.0-18-amd64`.
#[must_use]
pub fn version(release: &str) -> Option<Version> {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.');
    let mut numbers = release
        .get(..end.unwrap_or(release.len()))?
        .split('.')
        .map_while(|part| part.parse().ok());
    Some([
        numbers.next()?,
        numbers.next()?,
        numbers.next().unwrap_or(0),
    ])
}

/// The host and the job that a filter is made for.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The machine under its name in Go.
    pub machine: &'a str,
    /// Version of the kernel.
    pub kernel: Option<Version>,
    /// Capabilities that the target has.
    pub capabilities: &'a [String],
    /// Whether pid 1 is ours.
    pub init: bool,
}

impl Circumstances {
    fn all_hold(&self, setting: &Setting<'_>) -> bool {
        let has = |name: &String| setting.capabilities.contains(name);
        (self.machines.is_empty() || self.machines.iter().any(|name| name == setting.machine))
            && self.capabilities.iter().all(has)
            && self
                .kernel
                .is_none_or(|least| setting.kernel >= Some(least))
    }

    fn any_holds(&self, setting: &Setting<'_>) -> bool {
        let has = |name: &String| setting.capabilities.contains(name);
        self.machines.iter().any(|name| name == setting.machine)
            || self.capabilities.iter().any(has)
            || self
                .kernel
                .is_some_and(|least| setting.kernel >= Some(least))
    }
}

impl Profile {
    /// Whether rules depend on the kernel's version.
    #[must_use]
    pub fn needs_kernel(&self) -> bool {
        self.rules
            .iter()
            .any(|(scope, _)| scope.includes.kernel.is_some() || scope.excludes.kernel.is_some())
    }

    /// The filter for one host, with the rules that protect pid 1.
    #[must_use]
    pub fn policy(&self, setting: &Setting<'_>) -> Policy {
        let counts =
            |scope: &Scope| scope.includes.all_hold(setting) && !scope.excludes.any_holds(setting);
        let mut rules: Vec<Rule> = self
            .rules
            .iter()
            .filter(|(scope, _)| counts(scope))
            .map(|(_, rule)| rule.clone())
            .collect();
        if setting.init {
            // Where nothing lets a call through, a rule about it would only put its error in place of the default action.
            let reachable = |rule: &Rule| {
                let mut lets = rules.iter().filter(|other| other.action.lets_through());
                self.default.lets_through()
                    || lets.any(|other| {
                        rule.names
                            .iter()
                            .any(|name| other.names.iter().any(|o| o == name))
                    })
            };
            let protecting: Vec<Rule> = builtin::on_init().filter(reachable).collect();
            rules.extend(protecting);
        }
        Policy {
            default: self.default,
            rules,
            compat: self.compat,
            newer_absent: self.newer_absent,
        }
    }

    /// From the short form.
    ///
    /// # Errors
    /// The first rule that is not one.
    pub fn short(default: Option<ActionSpec>, rules: Option<&[RuleSpec]>) -> Checked<Self> {
        let default = action(
            default.ok_or_else(|| missing("/seccomp", "default_action"))?,
            "/seccomp/default_action",
        )?;
        let rules = rules
            .ok_or_else(|| missing("/seccomp", "rules"))?
            .iter()
            .enumerate()
            .map(|(i, rule)| {
                let at = format!("/seccomp/rules/{i}");
                let names = rule.names.as_ref().ok_or_else(|| missing(&at, "names"))?;
                let names = self::names(Names::Given(names.0.clone()), |n| match n {
                    Some(n) => format!("{at}/names/{n}"),
                    None => format!("{at}/names"),
                })?;
                let action = rule.action.ok_or_else(|| missing(&at, "action"))?;
                let action = self::action(action, &format!("{at}/action"))?;
                let args = rule.args.as_deref().unwrap_or_default();
                few(args.len(), &format!("{at}/args"))?;
                let conditions = args
                    .iter()
                    .enumerate()
                    .map(|(n, arg)| condition(arg, &format!("{at}/args/{n}")))
                    .collect::<Checked<_>>()?;
                Ok((
                    Scope::default(),
                    Rule {
                        names,
                        action,
                        conditions,
                    },
                ))
            })
            .collect::<Checked<_>>()?;
        Ok(Self {
            default,
            rules,
            // An allow list is about native calls; in a deny list the others must be denied as well.
            compat: default.lets_through(),
            newer_absent: false,
            flags: Flags::default(),
        })
    }
}

fn missing(at: &str, field: &str) -> Problem {
    Problem::at(
        Code::MissingField,
        format!("{at}/{field}"),
        format!("The field {field:?} is missing."),
    )
}

fn few(conditions: usize, at: &str) -> Checked<()> {
    if conditions > MAX_CONDITIONS {
        return Err(Problem::at(
            Code::TooLong,
            at,
            format!(
                "{conditions} conditions are more than the {MAX_CONDITIONS} that a rule can have."
            ),
        ));
    }
    Ok(())
}

/// System call names are short and made of few characters.
fn names(names: Names, at: impl Fn(Option<usize>) -> String) -> Checked<Names> {
    const MOST: usize = 64;
    let mut count = 0;
    for (i, name) in names.iter().enumerate() {
        count += 1;
        let code = if name.is_empty() {
            Code::Empty
        } else if name.len() > MOST {
            Code::TooLong
        } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            Code::BadName
        } else {
            continue;
        };
        let message = "The name of a system call is made of letters, digits and \"_\", at most 64.";
        return Err(Problem::at(code, at(Some(i)), message));
    }
    if count == 0 {
        return Err(Problem::at(
            Code::Empty,
            at(None),
            "A rule must name a system call.",
        ));
    }
    Ok(names)
}

/// The kernel cuts higher numbers to this one: MAX_ERRNO.
fn errno(number: u64, least: u64, at: &str) -> Checked<Action> {
    match u16::try_from(number) {
        Ok(short) if number >= least && short <= 4095 => Ok(Action::Errno(short)),
        _ => Err(Problem::at(
            Code::OutOfRange,
            at,
            format!("{number} is not between {least} and 4095."),
        )),
    }
}

fn action(spec: ActionSpec, at: &str) -> Checked<Action> {
    Ok(match spec {
        ActionSpec::Word(ActionWord::Allow) => Action::Allow,
        ActionSpec::Word(ActionWord::Log) => Action::Log,
        ActionSpec::Word(ActionWord::Trap) => Action::Trap,
        ActionSpec::Word(ActionWord::KillThread) => Action::KillThread,
        ActionSpec::Word(ActionWord::KillProcess) => Action::KillProcess,
        ActionSpec::Errno(number) => return errno(number, 1, &format!("{at}/errno")),
    })
}

fn argument(index: u64, at: &str) -> Checked<u8> {
    u8::try_from(index)
        .ok()
        .filter(|index| *index <= 5)
        .ok_or_else(|| {
            Problem::at(
                Code::OutOfRange,
                at,
                format!("{index} is not between 0 and 5: system calls have six arguments."),
            )
        })
}

/// A value with bits that the mask takes away can never be met: most likely the two were swapped.
fn masked(mask: u64, value: u64, at: &str) -> Checked<Test> {
    if value & !mask == 0 {
        return Ok(Test::MaskedEqual { mask, value });
    }
    let message =
        format!("{value:#x} has bits that the mask {mask:#x} does not, so it is never met.");
    Err(Problem::at(Code::Contradiction, at, message))
}

fn condition(spec: &ArgSpec, at: &str) -> Checked<Condition> {
    let index = spec.index.ok_or_else(|| missing(at, "index"))?;
    let op = spec.op.ok_or_else(|| missing(at, "op"))?;
    let value = spec.value.ok_or_else(|| missing(at, "value"))?;
    let argument = argument(index, &format!("{at}/index"))?;
    let test = match (op, spec.mask) {
        (Operator::MaskedEq, Some(mask)) => masked(mask, value, &format!("{at}/value"))?,
        (Operator::MaskedEq, None) => return Err(missing(at, "mask")),
        (_, Some(_)) => {
            return Err(Problem::at(
                Code::Contradiction,
                format!("{at}/mask"),
                "\"mask\" goes with \"op\":\"masked-eq\" only.",
            ));
        }
        (Operator::Eq, None) => Test::Equal(value),
        (Operator::Ne, None) => Test::NotEqual(value),
        (Operator::Lt, None) => Test::Less(value),
        (Operator::Le, None) => Test::LessOrEqual(value),
        (Operator::Gt, None) => Test::Greater(value),
        (Operator::Ge, None) => Test::GreaterOrEqual(value),
    };
    Ok(Condition { argument, test })
}
