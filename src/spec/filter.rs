//! `seccomp` as the JSON has it: the word, the short form, and the OCI runtime specification's object in the dialects of
//! Docker and Podman. Ring 0.

use super::Nullable;
use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt;
use std::rc::Rc;

words! {
    /// Words for `seccomp`.
    SeccompWord {
        /// The default deny list.
        Default,
        /// The allow list.
        Strict,
        /// No filter.
        Off,
    }
}

fields! {
    /// Objects for `seccomp`: an OCI object, or the short form.
    SeccompObject {
        /// The `seccomp` object of the OCI runtime specification.
        oci: Nullable<OciSpec>,
        /// Action for calls without a rule.
        default_action: ActionSpec,
        /// Rules.
        rules: Vec<RuleSpec>,
    }
}

/// Names of system calls. They are many, so what is made of them shares them.
#[derive(Clone, PartialEq, Debug)]
pub struct NamesSpec(pub Rc<Vec<String>>);

impl Serialize for NamesSpec {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for NamesSpec {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::deserialize(from).map(|names| Self(Rc::new(names)))
    }
}

words! {
    /// Actions of the short form that are a word.
    ActionWord {
        /// The call is made.
        Allow,
        /// The call is made and noted in the audit log.
        Log,
        /// SIGSYS, which can be caught.
        Trap,
        /// The thread ends.
        KillThread,
        /// The process ends.
        KillProcess,
    }
}

/// An action of the short form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ActionSpec {
    /// A word.
    Word(ActionWord),
    /// `{"errno": n}`
    Errno(u64),
}

impl Serialize for ActionSpec {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Word(word) => word.serialize(to),
            Self::Errno(number) => {
                let mut map = to.serialize_map(Some(1))?;
                map.serialize_entry("errno", number)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for ActionSpec {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Errno {
            errno: u64,
        }
        struct V;
        impl<'de> de::Visitor<'de> for V {
            type Value = ActionSpec;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an action or {\"errno\": number}")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<ActionSpec, E> {
                ActionWord::deserialize(de::value::StrDeserializer::new(v)).map(ActionSpec::Word)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ActionSpec, A::Error> {
                Errno::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(|object| ActionSpec::Errno(object.errno))
            }
        }
        from.deserialize_any(V)
    }
}

fields! {
    /// A rule of the short form.
    RuleSpec {
        /// System call names.
        names: NamesSpec,
        /// What happens.
        action: ActionSpec,
        /// Conditions on the arguments.
        args: Vec<ArgSpec>,
    }
}

words! {
    /// Comparisons of the short form.
    Operator {
        /// `==`
        Eq,
        /// `!=`
        Ne,
        /// `<`
        Lt,
        /// `<=`
        Le,
        /// `>`
        Gt,
        /// `>=`
        Ge,
        /// `(argument & mask) ==`
        MaskedEq,
    }
}

fields! {
    /// A condition of the short form.
    ArgSpec {
        /// Which argument.
        index: u64,
        /// How it is compared.
        op: Operator,
        /// With what.
        value: u64,
        /// Bits to look at.
        mask: u64,
    }
}

/// Makes an enumeration whose values are written under libseccomp's names.
macro_rules! names {
    ($(#[$outer:meta])* $name:ident { $($(#[$meta:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$meta])* #[serde(rename = $text)] $variant,)* }
    };
}

fields! {
    /// The OCI object.
    #[serde(rename_all = "camelCase")]
    OciSpec {
        /// Action for calls without a rule.
        default_action: OciAction,
        /// Its error number.
        default_errno_ret: u64,
        /// Its error's name.
        default_errno: String,
        /// ABIs that are covered.
        architectures: Vec<String>,
        /// The same by the machine's own ABI.
        arch_map: Vec<ArchMapSpec>,
        /// Flags of seccomp(2).
        flags: Vec<OciFlag>,
        /// Socket of a supervisor.
        listener_path: String,
        /// Data for it.
        listener_metadata: String,
        /// Rules.
        syscalls: Vec<OciRuleSpec>,
    }
}

names! {
    /// Actions of the OCI object.
    OciAction {
        /// The thread ends, under its old name.
        Kill = "SCMP_ACT_KILL",
        /// The process ends.
        KillProcess = "SCMP_ACT_KILL_PROCESS",
        /// The thread ends.
        KillThread = "SCMP_ACT_KILL_THREAD",
        /// SIGSYS, which can be caught.
        Trap = "SCMP_ACT_TRAP",
        /// The call fails.
        Errno = "SCMP_ACT_ERRNO",
        /// A tracer decides.
        Trace = "SCMP_ACT_TRACE",
        /// The call is made.
        Allow = "SCMP_ACT_ALLOW",
        /// The call is made and noted in the audit log.
        Log = "SCMP_ACT_LOG",
        /// A supervisor decides.
        Notify = "SCMP_ACT_NOTIFY",
    }
}

names! {
    /// Flags of the OCI object.
    OciFlag {
        /// For all threads; there is but one.
        Tsync = "SECCOMP_FILTER_FLAG_TSYNC",
        /// All actions but "allow" may be noted in the audit log.
        Log = "SECCOMP_FILTER_FLAG_LOG",
        /// Without speculation barriers.
        SpecAllow = "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        /// About supervisors.
        WaitKillableRecv = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    }
}

fields! {
    /// ABIs beside a machine's own.
    #[serde(rename_all = "camelCase")]
    ArchMapSpec {
        /// The machine's own.
        architecture: String,
        /// The others.
        sub_architectures: Vec<String>,
    }
}

fields! {
    /// A rule of the OCI object.
    #[serde(rename_all = "camelCase")]
    OciRuleSpec {
        /// One name, the old form.
        name: String,
        /// System call names.
        names: NamesSpec,
        /// What happens.
        action: OciAction,
        /// Its error number.
        errno_ret: u64,
        /// Its error's name.
        errno: String,
        /// Conditions on the arguments.
        args: Vec<OciArgSpec>,
        /// A note.
        comment: String,
        /// Where the rule counts.
        includes: WhereSpec,
        /// Where it does not.
        excludes: WhereSpec,
    }
}

fields! {
    /// Docker's conditions on machine, capabilities and kernel.
    #[serde(rename_all = "camelCase")]
    WhereSpec {
        /// Machines.
        arches: Vec<String>,
        /// Capabilities.
        caps: Vec<String>,
        /// Kernel version.
        min_kernel: String,
    }
}

names! {
    /// Comparisons of the OCI object.
    OciOperator {
        /// `!=`
        NotEqual = "SCMP_CMP_NE",
        /// `<`
        Less = "SCMP_CMP_LT",
        /// `<=`
        LessOrEqual = "SCMP_CMP_LE",
        /// `==`
        Equal = "SCMP_CMP_EQ",
        /// `>=`
        GreaterOrEqual = "SCMP_CMP_GE",
        /// `>`
        Greater = "SCMP_CMP_GT",
        /// `(argument & value) == valueTwo`
        MaskedEqual = "SCMP_CMP_MASKED_EQ",
    }
}

fields! {
    /// A condition of the OCI object.
    #[serde(rename_all = "camelCase")]
    OciArgSpec {
        /// Which argument.
        index: u64,
        /// With what it is compared.
        value: u64,
        /// The second value.
        value_two: u64,
        /// How.
        op: OciOperator,
    }
}
