//! Every place of the job but those of `seccomp`: what it takes, and what is refused there.

use crate::table::{Cannot, Refuses, Table, quoted};
use stdbox::problem::Code;

const MOST_BYTES: u64 = i64::MAX.unsigned_abs();
const MOST_MS: u64 = MOST_BYTES / 1_000_000;

pub(crate) fn rows(table: &mut Table) {
    command(table);
    environment(table);
    input(table);
    output(table);
    directories(table);
    scratch(table);
    words(table);
    user(table);
    limits(table);
    lists(table);
    around(table);
    crate::mounts::rows(table);
    crate::seccomp::rows(table);
}

fn command(t: &mut Table) {
    t.place("/version", "\"version\":§", &["1"])
        .whole()
        .bad("below", "0", Code::UnsupportedVersion, Refuses)
        .bad("above", "2", Code::UnsupportedVersion, Refuses);
    t.place("/id", "\"id\":§", &["\"\"", "\"\\u0000\""])
        .types(&["string"])
        .bad("long", &quoted(&"x".repeat(257)), Code::TooLong, Refuses)
        .bad("long", &quoted(&"ä".repeat(129)), Code::TooLong, Cannot);
    t.place("/argv", "\"argv\":§", &["[\"a\"]"])
        .types(&["array"])
        .bad("empty", "[]", Code::Empty, Refuses);
    t.place(
        "/argv/0",
        "\"argv\":[§]",
        &["\"a\"", "{\"base64\":\"/w==\"}"],
    )
    .argument(131_071, Refuses)
    .bad("empty", "\"\"", Code::Empty, Refuses);
    t.place("/argv/0/base64", "\"argv\":[§]", &[]).bad(
        "empty",
        "{\"base64\":\"\"}",
        Code::Empty,
        Refuses,
    );
    t.place(
        "/argv/*",
        "\"argv\":[\"a\",§]",
        &["\"\"", "{\"base64\":\"\"}"],
    )
    .argument(131_071, Refuses);
    t.place("/executable", "\"executable\":§", &["\"a\"", "\"../a\""])
        .path();
    t.place("/cwd", "\"cwd\":§", &["\"/\"", "{\"base64\":\"L/8=\"}"])
        .absolute();
}

fn environment(t: &mut Table) {
    t.place("/env", "\"env\":§", &["{}"])
        .types(&["object"])
        .object("{}", &[]);
    t.place("/env/inherit", "\"env\":{\"inherit\":§}", &["true", "[]"])
        .types(&["boolean", "array"]);
    let right = ["\"A\"", "\" \"", "{\"base64\":\"/w==\"}"];
    t.place("/env/inherit/*", "\"env\":{\"inherit\":[\"B\",§]}", &right)
        .variable();
    t.place("/env/set", "\"env\":{\"set\":§}", &["{}"])
        .types(&["object"]);
    // The name, its equals sign and the value are one string for the kernel.
    let right = ["\"\"", "{\"base64\":\"/w==\"}"];
    t.place("/env/set/*", "\"env\":{\"set\":{\"A/~\":§}}", &right)
        .argument(131_067, Cannot);
    t.place("/env/set/{}", "\"env\":{\"set\":{§:\"\"}}", &["\"a b\""])
        .bad("empty", "\"\"", Code::Empty, Refuses)
        .bad("nul", "\"A\\u0000\"", Code::NulByte, Refuses)
        .bad("equals", "\"A/~=B\"", Code::BadName, Refuses)
        .bad(
            "long",
            &quoted(&"x".repeat(131_071)),
            Code::TooLong,
            Refuses,
        );
    t.place("/env/unset", "\"env\":{\"unset\":§}", &["[]"])
        .types(&["array"]);
    let right = ["\"A\"", "{\"base64\":\"/w==\"}"];
    t.place("/env/unset/*", "\"env\":{\"unset\":[\"A\",§]}", &right)
        .variable();
}

fn input(t: &mut Table) {
    let right = ["\"null\"", "\"inherit\"", "{\"fd\":0}"];
    t.place("/stdin", "\"stdin\":§", &right)
        .word(&["string", "object"])
        .object("{\"text\":\"\"}", &[])
        .bad("without text", "{}", Code::MissingField, Refuses)
        .bad("without base64", "{}", Code::MissingField, Refuses)
        .bad("without file", "{}", Code::MissingField, Refuses)
        .bad("without fd", "{}", Code::MissingField, Refuses)
        .bad(
            "two forms",
            "{\"text\":\"\",\"base64\":\"\"}",
            Code::Contradiction,
            Refuses,
        )
        .bad(
            "two forms",
            "{\"file\":\"a\",\"fd\":5}",
            Code::Contradiction,
            Refuses,
        );
    t.place("/stdin/text", "\"stdin\":{\"text\":§}", &["\"\\u0000\""])
        .types(&["string"]);
    t.place(
        "/stdin/base64",
        "\"stdin\":{\"base64\":§}",
        &["\"\"", "\"AA==\""],
    )
    .base64();
    t.place("/stdin/file", "\"stdin\":{\"file\":§}", &["\"../a\""])
        .path();
    t.place("/stdin/fd", "\"stdin\":{\"fd\":§}", &["1048575"])
        .short(0, 1_048_575);
}

fn output(t: &mut Table) {
    for name in ["stdout", "stderr"] {
        let site = format!("/{name}");
        let fields = format!("\"{name}\":§");
        t.place(
            &site,
            &fields,
            &["\"null\"", "\"inherit\"", "{\"capture\":{}}"],
        )
        .word(&["string", "object"])
        .object("{\"capture\":{}}", &[])
        .bad("without capture", "{}", Code::MissingField, Refuses)
        .bad(
            "without file",
            "{\"append\":true}",
            Code::MissingField,
            Refuses,
        )
        .bad("without fd", "{}", Code::MissingField, Refuses)
        .bad(
            "two forms",
            "{\"capture\":{},\"file\":\"a\"}",
            Code::Contradiction,
            Refuses,
        )
        .bad(
            "two forms",
            "{\"fd\":5,\"file\":\"a\"}",
            Code::Contradiction,
            Refuses,
        );
        let fields = format!("\"{name}\":{{\"capture\":§}}");
        t.place(&format!("{site}/capture"), &fields, &["{}"])
            .types(&["object"])
            .object("{}", &[]);
        let fields = format!("\"{name}\":{{\"capture\":{{\"max_bytes\":§}}}}");
        t.place(
            &format!("{site}/capture/max_bytes"),
            &fields,
            &["0", "1073741824"],
        )
        .number(0, 1 << 30);
        let fields = format!("\"{name}\":{{\"file\":§}}");
        t.place(
            &format!("{site}/file"),
            &fields,
            &["\"../a\"", "{\"base64\":\"/w==\"}"],
        )
        .path();
        let fields = format!("\"{name}\":{{\"file\":\"a\",\"append\":§}}");
        t.place(&format!("{site}/append"), &fields, &["true", "false"])
            .flag();
        for beside in ["\"fd\":5", "\"capture\":{}"] {
            let fields = format!("\"{name}\":{{{beside},\"append\":§}}");
            t.place(&format!("{site}/append"), &fields, &[]).bad(
                "with another form",
                "false",
                Code::Contradiction,
                Refuses,
            );
        }
        let fields = format!("\"{name}\":{{\"fd\":§}}");
        t.place(&format!("{site}/fd"), &fields, &["0", "1048575"])
            .short(0, 1_048_575);
    }
    t.place("/stdout", "\"stdout\":§", &[])
        .unread("word", "\"stdout\"", Code::UnknownValue, "");
    t.place("/stderr", "\"stderr\":§", &["\"stdout\""]);
}

fn directories(t: &mut Table) {
    t.place("/directories", "\"directories\":§", &["{}", "[]"])
        .types(&["object", "array"]);
    t.place(
        "/directories/*",
        "\"directories\":{\"/a/~\":§}",
        &["\"hidden\""],
    )
    .word(&["string"]);
    let entry = "{\"path\":\"/a\",\"mode\":\"hidden\"}";
    t.place("/directories/*", "\"directories\":[§]", &[entry])
        .types(&["object"])
        .object(entry, &["path", "mode"]);
    let fields = format!("\"directories\":[{entry},§]");
    t.place("/directories/*", &fields, &[]).bad_below(
        "twice",
        "{\"path\":{\"base64\":\"Ly9h\"},\"mode\":\"overlay\"}",
        Code::DuplicateDirectory,
        "/path",
        Cannot,
    );
    t.place(
        "/directories/*/mode",
        "\"directories\":[{\"path\":\"/a\",\"mode\":§}]",
        &["\"read-only\""],
    )
    .word(&["string"]);
    t.place(
        "/directories/*/path",
        "\"directories\":[{\"path\":§,\"mode\":\"overlay\"}]",
        &["\"/a\"", "\"/process\"", "{\"base64\":\"L/8=\"}"],
    )
    .absolute()
    .bad("proc", "\"//proc\"", Code::ProcDirectory, Cannot);
    let long = [
        quoted(&"/x".repeat(2048)),
        quoted(&format!("/{}", "x".repeat(256))),
    ];
    t.place(
        "/directories/{}",
        "\"directories\":{§:\"hidden\"}",
        &["\"/a/./b\""],
    )
    .bad("empty", "\"\"", Code::Empty, Refuses)
    .bad("nul", "\"/a\\u0000\"", Code::NulByte, Refuses)
    .bad("relative", "\"a/b\"", Code::NotAbsolute, Refuses)
    .bad("parent", "\"/a/..\"", Code::ParentComponent, Cannot)
    .bad("long", &long[0], Code::TooLong, Refuses)
    .bad("long", &long[1], Code::TooLong, Cannot)
    .bad("proc", "\"/proc\"", Code::ProcDirectory, Cannot)
    .bad("proc", "\"/proc/./sys/\"", Code::ProcDirectory, Cannot);
    // The order of the text decides which of two is the second.
    for (first, second) in [("/a", "/a/"), ("/a/", "/a"), ("/", "/."), ("/a", "//a")] {
        let fields = format!(
            "\"directories\":{{{}:\"hidden\",§:\"hidden\"}}",
            quoted(first)
        );
        t.place("/directories", &fields, &[]).bad(
            "twice",
            &quoted(second),
            Code::DuplicateDirectory,
            Cannot,
        );
    }
    t.place("/directories", "\"directories\":{§:\"hidden\"}", &[])
        .bad("proc", "\"/proc/x\"", Code::ProcDirectory, Cannot)
        .bad("parent", "\"/..\"", Code::ParentComponent, Cannot);
}

fn scratch(t: &mut Table) {
    t.place("/scratch", "\"scratch\":§", &["{}"])
        .types(&["object"])
        .object("{}", &[])
        .bad(
            "two forms",
            "{\"directory\":\"/a\",\"size_bytes\":4096}",
            Code::Contradiction,
            Refuses,
        )
        .bad(
            "two forms",
            "{\"directory\":\"/a\",\"inodes\":64}",
            Code::Contradiction,
            Refuses,
        )
        .bad(
            "two forms",
            "{\"directory\":\"/a\",\"numa_nodes\":[0]}",
            Code::Contradiction,
            Refuses,
        )
        .bad(
            "two forms",
            "{\"directory\":\"/a\",\"numa_nodes\":[]}",
            Code::Contradiction,
            Refuses,
        );
    t.place(
        "/scratch/size_bytes",
        "\"scratch\":{\"size_bytes\":§}",
        &["4096", "9223372036854775807"],
    )
    .number(4096, MOST_BYTES);
    t.place(
        "/scratch/inodes",
        "\"scratch\":{\"inodes\":§}",
        &["64", "9223372036854775807"],
    )
    .number(64, MOST_BYTES);
    t.place(
        "/scratch/numa_nodes",
        "\"scratch\":{\"numa_nodes\":§}",
        &["[]"],
    )
    .types(&["array"]);
    t.place(
        "/scratch/numa_nodes/*",
        "\"scratch\":{\"numa_nodes\":[0,§]}",
        &["1023"],
    )
    .short(0, 1023);
    t.place(
        "/scratch/directory",
        "\"scratch\":{\"directory\":§}",
        &["\"/a\""],
    )
    .absolute();
}

fn words(t: &mut Table) {
    for name in ["dev", "lxcfs", "network"] {
        let fields = format!("\"{name}\":§");
        t.place(&format!("/{name}"), &fields, &[]).word(&["string"]);
    }
    t.place("/dev", "\"dev\":§", &["\"minimal\"", "\"host\""]);
    t.place(
        "/dev",
        "\"directories\":{\"/dev/\":\"read-only\"},\"dev\":§",
        &["\"host\""],
    )
    .bad("beside a mode", "\"minimal\"", Code::Contradiction, Cannot);
    t.place("/lxcfs", "\"lxcfs\":§", &["\"auto\"", "\"off\""]);
    t.place("/network", "\"network\":§", &["\"none\"", "\"host\""]);
    t.place("/proc", "\"proc\":§", &["\"none\""])
        .word(&["string"]);
    t.place("/sys", "\"sys\":§", &["\"fresh\"", "\"none\""])
        .word(&["string"]);
    t.place("/sys", "\"network\":\"host\",\"sys\":§", &[]).bad(
        "with the host's network",
        "\"fresh\"",
        Code::Contradiction,
        Cannot,
    );
    t.place(
        "/proc",
        "\"capabilities\":[\"CAP_KILL\"],\"proc\":§",
        &["\"fresh\""],
    )
    .bad("with capabilities", "\"none\"", Code::Contradiction, Cannot);
    t.place(
        "/sys",
        "\"capabilities\":[\"CAP_KILL\"],\"sys\":§",
        &["\"host\""],
    )
    .bad(
        "with capabilities",
        "\"fresh\"",
        Code::Contradiction,
        Cannot,
    );
    t.place(
        "/sys",
        "\"directories\":{\"/sys\":\"read-only\"},\"sys\":§",
        &["\"host\""],
    )
    .bad("beside a mode", "\"fresh\"", Code::Contradiction, Cannot);
    for name in ["system_config", "init", "strict"] {
        let fields = format!("\"{name}\":§");
        t.place(&format!("/{name}"), &fields, &["true", "false"])
            .flag();
    }
    t.place("/changes", "\"changes\":§", &["true"]).flag();
    t.place("/hostname", "\"hostname\":§", &["\"X\"", "\"a.b-c\""])
        .name(
            64,
            &["-a", "a-", ".a", "a.", "a b", "a_b", "ä", "a/b", "a\n"],
            Code::Empty,
        );
}

fn user(t: &mut Table) {
    t.place("/user", "\"user\":§", &["{}"])
        .types(&["object"])
        .object("{}", &[]);
    for id in ["uid", "gid"] {
        let fields = format!("\"user\":{{\"{id}\":§}}");
        t.place(&format!("/user/{id}"), &fields, &["0", "4294967294"])
            .short(0, u64::from(u32::MAX) - 1);
    }
    for name in ["name", "group"] {
        let fields = format!("\"user\":{{\"{name}\":§}}");
        t.place(&format!("/user/{name}"), &fields, &["\"_x-1\""])
            .name(
                32,
                &[
                    "A", "1a", "-a", "a b", "a:b", "a\nb", "ä", "a.b", "a/b", "a\n",
                ],
                Code::Empty,
            );
    }
    t.place("/user/home", "\"user\":{\"home\":§}", &["\"/\""])
        .absolute()
        .bad("letters", "\"/a:b\"", Code::BadName, Cannot)
        .bad("letters", "\"/a\\nb\"", Code::BadName, Cannot);
    t.place("/user/map", "\"user\":{\"map\":§}", &["\"range\""])
        .word(&["string"]);
}

fn limits(t: &mut Table) {
    t.place("/limits", "\"limits\":§", &["{}"])
        .types(&["object"])
        .object("{}", &[]);
    for (name, least, most) in [
        ("wall_time_ms", 1, MOST_MS),
        ("cpu_time_ms", 1, MOST_MS),
        ("grace_ms", 0, MOST_MS),
        ("memory_bytes", 1, MOST_BYTES),
        ("processes", 1, 4_194_304),
        ("output_bytes", 0, MOST_BYTES),
        ("open_files", 3, MOST_BYTES),
        ("file_size_bytes", 0, MOST_BYTES),
        ("stack_bytes", 1, MOST_BYTES),
        ("address_space_bytes", 1, MOST_BYTES),
        ("core_bytes", 0, MOST_BYTES),
    ] {
        let fields = format!("\"limits\":{{\"{name}\":§}}");
        let right = [least.to_string(), most.to_string()];
        t.place(&format!("/limits/{name}"), &fields, &[&right[0], &right[1]])
            .number(least, most);
    }
    t.place(
        "/limits/cpus",
        "\"limits\":{\"cpus\":§}",
        &["0.5", "2", "1024"],
    )
    .types(&["number"])
    .bad("below", "0", Code::OutOfRange, Refuses)
    .bad("below", "0.0", Code::OutOfRange, Refuses)
    .bad("below", "-0.5", Code::OutOfRange, Refuses)
    .bad("above", "1024.5", Code::OutOfRange, Refuses)
    .bad("above", "1e300", Code::OutOfRange, Refuses);
    t.place(
        "/limits/cpuset",
        "\"limits\":{\"cpuset\":§}",
        &["\"0\"", "\"3,0-1\""],
    )
    .types(&["string"])
    .bad("empty", "\"\"", Code::UnknownValue, Refuses)
    .bad("letters", "\"all\"", Code::UnknownValue, Refuses)
    .bad("letters", "\"0, 1\"", Code::UnknownValue, Refuses)
    .bad("nul", "\"0\\u0000\"", Code::UnknownValue, Refuses)
    .bad("backwards", "\"3-1\"", Code::UnknownValue, Cannot)
    .bad("above", "\"0-65536\"", Code::UnknownValue, Cannot);
    t.place(
        "/limits/output_bytes",
        "\"stdout\":\"null\",\"stderr\":\"null\",\"limits\":{\"output_bytes\":§}",
        &[],
    )
    .bad("without captured output", "1", Code::Contradiction, Cannot);
    for stream in [
        "\"stdout\":{\"fd\":7}",
        "\"stdout\":{\"file\":\"/x\"}",
        "\"stderr\":{\"fd\":7}",
        "\"stderr\":\"inherit\"",
        "\"stdout\":\"null\",\"stderr\":\"stdout\"",
    ] {
        let fields = format!("{stream},\"limits\":{{\"output_bytes\":§}}");
        t.place("/limits/output_bytes", &fields, &[]).bad(
            "uncounted output",
            "1",
            Code::Contradiction,
            Cannot,
        );
    }
}

fn lists(t: &mut Table) {
    t.place("/capabilities", "\"capabilities\":§", &["[]"])
        .types(&["array"])
        .bad_below(
            "twice",
            "[\"CAP_KILL\",\"CAP_KILL\"]",
            Code::Contradiction,
            "/1",
            Refuses,
        );
    t.place(
        "/capabilities",
        "\"init\":false,\"capabilities\":§",
        &["[]"],
    )
    .bad(
        "without init",
        "[\"CAP_KILL\"]",
        Code::Contradiction,
        Cannot,
    );
    t.place(
        "/capabilities/*",
        "\"capabilities\":[\"CAP_KILL\",§]",
        &["\"CAP_NET_RAW\""],
    )
    .types(&["string"])
    .bad("empty", "\"\"", Code::UnknownValue, Refuses)
    .bad("nul", "\"CAP_KILL\\u0000\"", Code::UnknownValue, Refuses)
    .bad("letters", "\"cap_kill\"", Code::UnknownValue, Refuses)
    .bad("word", "\"CAP_NOTHING\"", Code::UnknownValue, Cannot);
    t.place("/fds", "\"fds\":§", &["[]"])
        .types(&["array"])
        .bad_below("twice", "[4,3,4]", Code::Contradiction, "/2", Refuses);
    t.place("/fds/*", "\"fds\":[4,§]", &["3", "1048575"])
        .short(3, 1_048_575)
        .bad("below", "0", Code::OutOfRange, Refuses);
}

/// What stands around the container: another tree, control groups, results, the caller.
fn around(t: &mut Table) {
    t.place("/root", "\"root\":§", &["\"a\"", "\"/a\""]).path();
    let right = ["\"required\"", "{\"parent\":\"/sys/fs/cgroup\"}"];
    t.place("/cgroup", "\"cgroup\":§", &right)
        .word(&["string", "object"])
        .object("{\"parent\":\"/a\"}", &["parent"]);
    t.place(
        "/cgroup",
        "\"limits\":{\"memory_bytes\":4096},\"cgroup\":§",
        &[],
    )
    .bad("off with a limit", "\"off\"", Code::Contradiction, Cannot);
    t.place("/cgroup/parent", "\"cgroup\":{\"parent\":§}", &["\"/a\""])
        .absolute();
    let whole = "{\"directory\":\"/a\"}";
    t.place("/results", "\"results\":§", &[whole])
        .types(&["object"])
        .object(whole, &["directory"]);
    t.place(
        "/results/directory",
        "\"results\":{\"directory\":§}",
        &["\"/a\""],
    )
    .absolute();
    let fields = "\"results\":{\"directory\":\"/a\",\"patterns\":§}";
    t.place("/results/patterns", fields, &["[\".\"]"])
        .types(&["array"])
        .bad("empty", "[]", Code::Empty, Refuses);
    let fields = "\"results\":{\"directory\":\"/a\",\"patterns\":[\".\",§]}";
    t.place("/results/patterns/*", fields, &["\"a/../b\"", "\"/a/**\""])
        .path()
        .bad("parent", "\"..\"", Code::ParentComponent, Cannot)
        .bad("parent", "\"a/../../b\"", Code::ParentComponent, Cannot)
        .bad("parent", "\"/..\"", Code::ParentComponent, Cannot);
    for name in ["max_files", "max_bytes"] {
        let fields = format!("\"results\":{{\"directory\":\"/a\",\"{name}\":§}}");
        t.place(&format!("/results/{name}"), &fields, &["0"])
            .number(0, MOST_BYTES);
    }
    t.place("/sync", "\"sync\":§", &["{\"events_fd\":3}"])
        .types(&["object"])
        .object("{\"events_fd\":3}", &["events_fd"]);
    for (site, fields, code) in [
        (
            "/sync",
            "\"sync\":{\"events_fd\":3},\"stdin\":{\"fd\":§}",
            Code::Contradiction,
        ),
        (
            "/sync",
            "\"sync\":{\"events_fd\":9,\"control_fd\":3},\"fds\":[§]",
            Code::BadDescriptor,
        ),
    ] {
        t.place(site, fields, &["4"])
            .bad("a descriptor of it", "3", code, Cannot);
    }
    t.place("/sync/events_fd", "\"sync\":{\"events_fd\":§}", &["3"])
        .short(0, 1_048_575);
    let fields = "\"sync\":{\"events_fd\":3,\"control_fd\":§}";
    t.place("/sync/control_fd", fields, &["4"])
        .short(0, 1_048_575);
    for name in ["pause_before_exec", "pause_after_exit"] {
        let fields = format!("\"sync\":{{\"events_fd\":3,\"control_fd\":4,\"{name}\":§}}");
        t.place(&format!("/sync/{name}"), &fields, &["true", "false"])
            .flag();
        let fields = "\"sync\":§,\"strict\":false";
        let without = format!("{{\"events_fd\":3,\"{name}\":true}}");
        t.place("/sync/control_fd", fields, &[]).bad_below(
            "for a pause",
            &without,
            Code::MissingField,
            "/control_fd",
            Cannot,
        );
    }
}
