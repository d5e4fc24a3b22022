//! Who the job is.

use crate::common::job;
use crate::support::{run, shell};
use serde_json::json;

#[test]
fn user_of_the_job_is_what_was_asked() {
    let fields =
        json!({"user": {"uid": 0, "gid": 0, "name": "root", "group": "root", "home": "/root"}});
    let run = shell(
        "id -un; id -gn; id -u; echo $HOME; stat -L -c %u /proc/self; touch /root/x && echo written; ls -A /root",
        fields,
    );
    assert_eq!(
        run.exited(0).stdout(),
        "root\nroot\n0\n/root\n0\nwritten\nx\n",
        "{run}"
    );
    let fields = json!({"user": {"uid": 4_000_000, "gid": 77, "name": "someone", "group": "some"}});
    let run = shell("id -un; id -gn; id -u; id -g; cd && pwd", fields);
    assert_eq!(
        run.exited(0).stdout(),
        "someone\nsome\n4000000\n77\n/home/someone\n",
        "{run}"
    );
}

#[test]
fn user_root_inside_has_no_capability_even_after_a_setuid_program() {
    let fields = json!({"user": {"uid": 0, "gid": 0}});
    let run = shell(
        "grep -h -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status",
        fields,
    );
    let expected = "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
    assert_eq!(run.exited(0).stdout(), expected, "{run}");
}

#[test]
fn groups_of_the_caller_other_than_its_own_are_nobodys() {
    let run = run(&job("id -G; cat /proc/self/setgroups", &[], &json!({})));
    let words: Vec<&str> = run.exited(0).stdout().split_whitespace().collect();
    assert_eq!(
        (words.first(), words.last()),
        (Some(&"1000"), Some(&"deny")),
        "{run}"
    );
}
