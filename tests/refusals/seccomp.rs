//! The places of `seccomp`.

use crate::table::{Cannot, Refuses, Table, quoted};
use stdbox::problem::Code;

const LETTERS: [&str; 4] = ["a-b", "a b", "é", "read\n"];
const ARCHITECTURES: [&str; 4] = ["x86_64", "SCMP_ARCH_", "SCMP_ARCH_x86", "amd64"];

pub(crate) fn rows(t: &mut Table) {
    let own = "{\"default_action\":\"allow\",\"rules\":[]}";
    t.place(
        "/seccomp",
        "\"seccomp\":§",
        &["\"default\"", "\"strict\"", "\"off\"", own],
    )
    .word(&["string", "object"])
    .object(own, &["default_action", "rules"])
    .bad("without oci", "{}", Code::MissingField, Refuses)
    .bad(
        "two forms",
        "{\"oci\":{\"defaultAction\":\"SCMP_ACT_ALLOW\"},\"rules\":[]}",
        Code::Contradiction,
        Refuses,
    );
    short(t);
    oci(t);
    oci_rules(t);
}

fn short(t: &mut Table) {
    for (site, fields) in [
        (
            "/seccomp/default_action",
            "\"seccomp\":{\"rules\":[],\"default_action\":§}",
        ),
        (
            "/seccomp/rules/*/action",
            "\"seccomp\":{\"default_action\":\"allow\",\"rules\":[{\"names\":[\"read\"],\"action\":§}]}",
        ),
    ] {
        t.place(site, fields, &["\"log\"", "{\"errno\":1}"])
            .word(&["string", "object"])
            .object("{\"errno\":1}", &["errno"]);
        let fields = fields.replace('§', "{\"errno\":§}");
        t.place(&format!("{site}/errno"), &fields, &["1", "4095"])
            .number(1, 4095);
    }
    t.place(
        "/seccomp/rules",
        "\"seccomp\":{\"default_action\":\"allow\",\"rules\":§}",
        &["[]"],
    )
    .types(&["array"]);
    let whole = "{\"names\":[\"read\"],\"action\":\"allow\"}";
    t.place(
        "/seccomp/rules/*",
        "\"seccomp\":{\"default_action\":\"allow\",\"rules\":[§]}",
        &[whole],
    )
    .types(&["object"])
    .object(whole, &["names", "action"]);
    let rule = |rest: &str| {
        format!(
            "\"seccomp\":{{\"default_action\":\"allow\",\"rules\":[{{\"action\":\"log\",{rest}}}]}}"
        )
    };
    t.place(
        "/seccomp/rules/*/names",
        &rule("\"names\":§"),
        &["[\"read\"]"],
    )
    .types(&["array"])
    .bad("empty", "[]", Code::Empty, Refuses);
    let fields = rule("\"names\":[\"read\",§]");
    t.place("/seccomp/rules/*/names/*", &fields, &["\"no_such_call\""])
        .name(64, &LETTERS, Code::Empty);
    let fields = rule("\"names\":[\"read\"],\"args\":§");
    let one = "{\"index\":0,\"op\":\"eq\",\"value\":0}";
    let many = format!("[{}]", [one; 33].join(","));
    t.place("/seccomp/rules/*/args", &fields, &["[]"])
        .types(&["array"])
        .bad("long", &many, Code::TooLong, Refuses);
    let fields = rule("\"names\":[\"read\"],\"args\":[§]");
    t.place("/seccomp/rules/*/args/*", &fields, &[one])
        .types(&["object"])
        .object(one, &["index", "op", "value"])
        .bad_below(
            "masked without mask",
            "{\"index\":0,\"op\":\"masked-eq\",\"value\":0}",
            Code::MissingField,
            "/mask",
            Cannot,
        )
        .bad_below(
            "never met",
            "{\"index\":0,\"op\":\"masked-eq\",\"value\":2,\"mask\":1}",
            Code::Contradiction,
            "/value",
            Cannot,
        );
    let arg = |rest: &str| rule(&format!("\"names\":[\"read\"],\"args\":[{{{rest}}}]"));
    let fields = arg("\"op\":\"eq\",\"value\":0,\"index\":§");
    t.place("/seccomp/rules/*/args/*/index", &fields, &["0", "5"])
        .number(0, 5);
    let fields = arg("\"index\":0,\"value\":0,\"op\":§");
    t.place("/seccomp/rules/*/args/*/op", &fields, &["\"ne\""])
        .word(&["string"]);
    let fields = arg("\"index\":0,\"op\":\"eq\",\"value\":§");
    t.place(
        "/seccomp/rules/*/args/*/value",
        &fields,
        &["18446744073709551615"],
    )
    .whole();
    let fields = arg("\"index\":0,\"op\":\"masked-eq\",\"value\":0,\"mask\":§");
    t.place(
        "/seccomp/rules/*/args/*/mask",
        &fields,
        &["18446744073709551615"],
    )
    .whole();
    let fields = arg("\"index\":0,\"op\":\"eq\",\"value\":0,\"mask\":§");
    t.place("/seccomp/rules/*/args/*/mask", &fields, &[]).bad(
        "without masked-eq",
        "1",
        Code::Contradiction,
        Cannot,
    );
}

fn oci(t: &mut Table) {
    const AT: &str = "/seccomp/oci";
    let of = |rest: &str| {
        format!("\"seccomp\":{{\"oci\":{{\"defaultAction\":\"SCMP_ACT_ALLOW\",{rest}}}}}")
    };
    let whole = "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}";
    t.place(AT, "\"seccomp\":{\"oci\":§}", &[whole])
        .types(&["object"])
        .object(whole, &["defaultAction"]);
    let fields = "\"seccomp\":{\"oci\":{\"defaultAction\":§}}";
    action(t, &format!("{AT}/defaultAction"), fields);
    let fields =
        "\"seccomp\":{\"oci\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":§}}";
    errno(t, &format!("{AT}/defaultErrnoRet"), fields);
    t.place(
        &format!("{AT}/defaultErrnoRet"),
        &of("\"defaultErrnoRet\":§"),
        &["null"],
    )
    .bad("without SCMP_ACT_ERRNO", "1", Code::Contradiction, Cannot);
    let fields = "\"seccomp\":{\"oci\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrno\":§}}";
    error_name(t, &format!("{AT}/defaultErrno"), fields);
    for (list, entry) in [
        ("architectures", "\"SCMP_ARCH_X86\""),
        ("flags", "\"SECCOMP_FILTER_FLAG_LOG\""),
        ("archMap", "{\"architecture\":\"SCMP_ARCH_X86_64\"}"),
        (
            "syscalls",
            "{\"names\":[\"read\"],\"action\":\"SCMP_ACT_LOG\"}",
        ),
    ] {
        let entry = format!("[{entry}]");
        t.place(
            &format!("{AT}/{list}"),
            &of(&format!("\"{list}\":§")),
            &["null", "[]", &entry],
        )
        .types(&["array", "null"]);
    }
    t.place(
        &format!("{AT}/architectures/*"),
        &of("\"architectures\":[§]"),
        &["\"SCMP_ARCH_X86\""],
    )
    .name(64, &ARCHITECTURES, Code::BadName);
    t.place(
        &format!("{AT}/flags/*"),
        &of("\"flags\":[§]"),
        &["\"SECCOMP_FILTER_FLAG_LOG\""],
    )
    .word(&["string"]);
    let entry = "{\"architecture\":\"SCMP_ARCH_X86_64\"}";
    t.place(&format!("{AT}/archMap/*"), &of("\"archMap\":[§]"), &[])
        .types(&["object"])
        .object(entry, &["architecture"]);
    let fields = of("\"archMap\":[{\"architecture\":§}]");
    t.place(
        &format!("{AT}/archMap/*/architecture"),
        &fields,
        &["\"SCMP_ARCH_X86\""],
    )
    .needed()
    .name_or_null(64, &ARCHITECTURES, Code::BadName);
    let map = |sub: &str| {
        of(&format!(
            "\"archMap\":[{{\"architecture\":\"SCMP_ARCH_X86_64\",\"subArchitectures\":{sub}}}]"
        ))
    };
    t.place(
        &format!("{AT}/archMap/*/subArchitectures"),
        &map("§"),
        &["null", "[]"],
    )
    .types(&["array", "null"]);
    t.place(
        &format!("{AT}/archMap/*/subArchitectures/*"),
        &map("[§]"),
        &["\"SCMP_ARCH_X32\""],
    )
    .name(64, &ARCHITECTURES, Code::BadName);
    t.place(
        &format!("{AT}/archMap"),
        &of("\"architectures\":[\"SCMP_ARCH_X86\"],\"archMap\":§"),
        &[],
    )
    .bad(
        "beside architectures",
        &format!("[{entry}]"),
        Code::Contradiction,
        Cannot,
    );
    for field in ["listenerPath", "listenerMetadata"] {
        t.place(
            &format!("{AT}/{field}"),
            &of(&format!("\"{field}\":§")),
            &["null"],
        )
        .types(&["string", "null"])
        .bad("supervisor", "\"/a\"", Code::NotImplemented, Cannot);
    }
}

fn action(t: &mut Table, site: &str, fields: &str) {
    t.place(site, fields, &["\"SCMP_ACT_LOG\""])
        .needed()
        .word(&["string", "null"])
        .bad(
            "supervisor",
            "\"SCMP_ACT_NOTIFY\"",
            Code::NotImplemented,
            Cannot,
        )
        .bad(
            "supervisor",
            "\"SCMP_ACT_TRACE\"",
            Code::NotImplemented,
            Cannot,
        );
}

fn errno(t: &mut Table, site: &str, fields: &str) {
    t.place(site, fields, &["0", "4095", "null"])
        .number_or_null(0, 4095);
}

fn error_name(t: &mut Table, site: &str, fields: &str) {
    t.place(site, fields, &["\"EPERM\"", "\"\"", "null"])
        .types(&["string", "null"])
        .bad("word", "\"ENOTHING\"", Code::UnknownValue, Cannot)
        .bad("letters", "\"eperm\"", Code::UnknownValue, Refuses)
        .bad("nul", "\"EPERM\\u0000\"", Code::UnknownValue, Refuses)
        .bad(
            "long",
            &quoted(&"E".repeat(33)),
            Code::UnknownValue,
            Refuses,
        );
}

fn oci_rules(t: &mut Table) {
    const AT: &str = "/seccomp/oci/syscalls/*";
    let of = |rule: &str| {
        format!(
            "\"seccomp\":{{\"oci\":{{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{rule}]}}}}"
        )
    };
    let with = |rest: &str| of(&format!("{{\"action\":\"SCMP_ACT_ERRNO\",{rest}}}"));
    let named = |rest: &str| with(&format!("\"names\":[\"read\"],{rest}"));
    let whole = "{\"names\":[\"read\"],\"action\":\"SCMP_ACT_LOG\"}";
    t.place(
        AT,
        &of("§"),
        &[whole, "{\"name\":\"read\",\"action\":\"SCMP_ACT_LOG\"}"],
    )
    .types(&["object"])
    .object(whole, &["action"])
    .bad_below(
        "without names or name",
        "{\"action\":\"SCMP_ACT_LOG\"}",
        Code::MissingField,
        "/names",
        Refuses,
    )
    .bad_below(
        "two forms",
        "{\"name\":\"read\",\"names\":[\"read\"],\"action\":\"SCMP_ACT_LOG\"}",
        Code::Contradiction,
        "/name",
        Refuses,
    );
    t.place(&format!("{AT}/name"), &with("\"name\":§"), &[])
        .name_or_null(64, &LETTERS, Code::Empty);
    t.place(&format!("{AT}/names"), &with("\"names\":§"), &[])
        .types(&["array", "null"])
        .bad("empty", "[]", Code::Empty, Refuses);
    t.place(
        &format!("{AT}/names/*"),
        &with("\"names\":[§]"),
        &["\"read\""],
    )
    .name(64, &LETTERS, Code::Empty);
    let fields = of("{\"names\":[\"read\"],\"action\":§}");
    action(t, &format!("{AT}/action"), &fields);
    errno(t, &format!("{AT}/errnoRet"), &named("\"errnoRet\":§"));
    error_name(t, &format!("{AT}/errno"), &named("\"errno\":§"));
    t.place(
        &format!("{AT}/comment"),
        &named("\"comment\":§"),
        &["null", "\"\""],
    )
    .types(&["string", "null"]);
    let one = "{\"index\":0,\"op\":\"SCMP_CMP_EQ\",\"value\":0}";
    let many = format!("[{}]", [one; 33].join(","));
    t.place(&format!("{AT}/args"), &named("\"args\":§"), &["null", "[]"])
        .types(&["array", "null"])
        .bad("long", &many, Code::TooLong, Refuses);
    t.place(&format!("{AT}/args/*"), &named("\"args\":[§]"), &[one])
        .types(&["object"])
        .object(one, &["index", "op", "value"]);
    let arg = |rest: &str| named(&format!("\"args\":[{{{rest}}}]"));
    let fields = arg("\"op\":\"SCMP_CMP_EQ\",\"value\":0,\"index\":§");
    t.place(&format!("{AT}/args/*/index"), &fields, &["0", "5"])
        .needed()
        .number_or_null(0, 5);
    let fields = arg("\"index\":0,\"value\":0,\"op\":§");
    t.place(&format!("{AT}/args/*/op"), &fields, &["\"SCMP_CMP_NE\""])
        .needed()
        .word(&["string", "null"]);
    let fields = arg("\"index\":0,\"op\":\"SCMP_CMP_EQ\",\"value\":§");
    t.place(
        &format!("{AT}/args/*/value"),
        &fields,
        &["18446744073709551615"],
    )
    .needed()
    .whole_or_null();
    let fields = arg("\"index\":0,\"op\":\"SCMP_CMP_EQ\",\"value\":0,\"valueTwo\":§");
    t.place(
        &format!("{AT}/args/*/valueTwo"),
        &fields,
        &["18446744073709551615", "null"],
    )
    .whole_or_null();
    let fields = arg("\"index\":0,\"op\":\"SCMP_CMP_MASKED_EQ\",\"value\":1,\"valueTwo\":§");
    t.place(&format!("{AT}/args/*/valueTwo"), &fields, &["1"])
        .bad("never met", "2", Code::Contradiction, Cannot);
    for field in ["includes", "excludes"] {
        let at = format!("{AT}/{field}");
        let of = |rest: &str| named(&format!("\"{field}\":{rest}"));
        t.place(&at, &of("§"), &["null", "{}"])
            .types(&["object", "null"])
            .object("{}", &[]);
        for list in ["arches", "caps"] {
            t.place(
                &format!("{at}/{list}"),
                &of(&format!("{{\"{list}\":§}}")),
                &["null", "[]"],
            )
            .types(&["array", "null"]);
        }
        t.place(
            &format!("{at}/arches/*"),
            &of("{\"arches\":[§]}"),
            &["\"\""],
        )
        .types(&["string"])
        .bad("long", &quoted(&"x".repeat(65)), Code::TooLong, Refuses);
        t.place(
            &format!("{at}/caps/*"),
            &of("{\"caps\":[§]}"),
            &["\"CAP_NEW\""],
        )
        .name(0, &["CAP_", "cap_kill", "KILL"], Code::BadName);
        t.place(
            &format!("{at}/minKernel"),
            &of("{\"minKernel\":§}"),
            &["\"4.8\"", "null"],
        )
        .name_or_null(
            0,
            &["4", "4.", ".8", "4.8.1", "v4.8", "4.8\n"],
            Code::BadName,
        );
    }
}
