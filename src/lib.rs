//! The pure part of stdbox.
//!
//! stdbox runs a command in a container made of the host's own file tree. This library holds everything of it that is a
//! function of values: it does no I/O, looks at no clock and no environment, and has no `unsafe`. The binary in
//! `src/bin/stdbox/` looks at the host, carries the plan out and waits.
//!
//! One job goes through these types, each made in one place:
//!
//! | from → to | function | module |
//! |---|---|---|
//! | JSON → [`spec::Spec`] | [`json::parse`], [`json::Value::read`] | `json`, `spec` |
//! | `Spec` → [`job::Job`] | [`job::Job::new`] | `job` |
//! | `Job` + [`host::HostFacts`] → [`plan::Plan`], or questions | [`plan::plan`] | `plan` |
//! | `Plan` → kernel → [`wire::Record`]s | ring 2 | `src/bin/stdbox/child` |
//! | `Record`s → [`outcome::Outcome`] | [`outcome`] | `outcome` |
//! | `Outcome` → report | [`report`] | `report` |
//!
//! Words of our own: a *step* is one operation of the plan; a *fact* is an answer of the host to a *question*; a *slot* is a
//! descriptor that one step opens and later steps use; a *record* is what the child says to the parent; *init* is pid 1 of
//! the container; an *area* is a part of the container's tree that is made in one way.
//!
//! ```
//! use stdbox::host::{HostFacts, Listing, PathFact, Question};
//! use stdbox::job::{Channels, Job};
//! use stdbox::plan::{NoPlan, plan};
//! use stdbox::text::AbsPath;
//!
//! let text = br#"{"argv":["true"],"cwd":"/","directories":{"/":"read-only"}}"#;
//! let job = Job::from_slice(text, Channels::default()).expect("a valid job");
//! let mut facts = HostFacts::default();
//! let plan = loop {
//!     match plan(&job, &facts) {
//!         Ok(plan) => break plan,
//!         // This host has empty directories only, and nothing is mounted on any of them.
//!         Err(NoPlan::Ask(questions)) => {
//!             for question in questions {
//!                 match question {
//!                     Question::Path(path) => {
//!                         facts.paths.insert(path, PathFact::Directory { mode: 0o755, mount: false });
//!                     }
//!                     Question::List(path) => {
//!                         facts.lists.insert(path, Listing::Entries(Vec::new()));
//!                     }
//!                     Question::Devices => facts.devices = Some(true),
//!                     other => panic!("{other:?} is not asked where nothing is an overlay"),
//!                 }
//!             }
//!         }
//!         Err(NoPlan::Refused(problem)) => panic!("{problem:?}"),
//!     }
//! };
//! assert_eq!(plan.cwd, AbsPath::root());
//! ```
#![forbid(unsafe_code)]

pub mod budget;
pub mod capability;
pub mod cgroup;
pub mod cpu_list;
pub mod doctor;
pub mod host;
pub mod job;
pub mod json;
pub mod lines;
pub mod mountinfo;
pub mod outcome;
pub mod pattern;
pub mod plan;
pub mod policy;
pub mod problem;
pub mod profile;
pub mod remedy;
pub mod report;
pub mod results;
pub mod spec;
pub mod subid;
pub mod sync;
pub mod text;
pub mod usage;
pub mod wire;
