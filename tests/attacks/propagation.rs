//! Mounts made after the start, on either side: nothing goes in, nothing comes out, and nothing is uncovered.

use crate::common::{answer, probe_job, with};
use crate::support::{Fresh, in_namespace, probe, run_in_namespace};
use serde_json::{Value, json};
