//! What the report says was used, against what others measure.

use crate::common::{measured, probe_job, reported_ns, with};
use crate::support::{probe, run, skip};
use serde_json::{Value, json};

/// 2 %, or 10 ms.
#[track_caller]
fn near(one: u64, other: u64, more_ns: u64) {
    let most = (other / 50).max(10_000_000) + more_ns;
    assert!(one.abs_diff(other) <= most, "{one} and {other}");
}

#[test]
fn figures_of_processor_time_are_those_of_getrusage_inside() {
    for limits in [json!({}), json!({"cpu_time_ms": 60_000})] {
        let job = with(
            probe_job(&["burn", "figures", "150"], &json!({})),
            &json!({"limits": limits}),
        );
        let (seen, used_ns) = measured(&job);
        let inside: Value = serde_json::from_str(seen.exited(0).stdout()).unwrap();
        let ns = |key: &str| inside[key].as_u64().unwrap();
        near(reported_ns(&seen), ns("own_ns") + ns("children_ns"), 0);
        // stdbox itself is in it.
        near(reported_ns(&seen), used_ns, 30_000_000);
    }
}

#[test]
fn figures_of_processor_time_are_those_of_time_1() {
    let time = "/usr/bin/time";
    if !std::path::Path::new(time).exists() {
        return skip("time", "time(1) is not installed");
    }
    let job = json!({"argv": [time, "-f", "%U %S", probe(), "spin", "500"], "cwd": "/"});
    let seen = run(&job);
    let seconds = seen.exited(0).stderr().split_whitespace();
    let sum: f64 = seconds.map(|part| part.parse::<f64>().unwrap()).sum();
    let ns = serde_json::Number::from_f64((sum * 1e9).round()).unwrap();
    // It cuts both to hundredths.
    near(
        reported_ns(&seen),
        ns.as_f64().unwrap().to_string().parse().unwrap(),
        20_000_000,
    );
}
