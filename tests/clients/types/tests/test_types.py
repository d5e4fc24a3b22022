"""The generated types accept what stdbox accepts and refuse what it refuses, as far as types can."""

import copy
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Set, Tuple

HERE = Path(__file__).resolve().parent
CLIENTS = HERE.parents[1]
ROOT = HERE.parents[3]
sys.path.insert(0, str(HERE.parent))

import generate  # noqa: E402  (it is a program and no package)

STDBOX = os.environ["STDBOX_BIN"]
MYPY = os.environ["MYPY_LIB"]
TSC = os.environ["TSC"]

EXAMPLES: Dict[str, Any] = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "schema" / "examples").glob("*.json"))}
# Together with the examples these have every field of a job.
FULL: List[Any] = [
    {
        "version": 1,
        "id": "all",
        "argv": ["a", {"base64": "/w=="}],
        "executable": {"base64": "L/8="},
        "cwd": {"base64": "L/8="},
        "env": {"inherit": True, "set": {"A": {"base64": "/w=="}}, "unset": ["B", {"base64": "/w=="}]},
        "stdin": {"base64": "AA=="},
        "stdout": {"file": "/out", "append": True},
        "stderr": {"file": {"base64": "L/8="}},
        "root": "/image",
        "mounts": [
            {"type": "bind", "source": "/a", "target": "/b", "read_only": False, "recursive": False},
            {"type": "tmpfs", "target": "/c", "inodes": 5, "mode": "1777"},
            {"type": "file", "target": "/d", "base64": "AA==", "mode": "0600"},
            {"type": "symlink", "target": "/e", "to": {"base64": "/w=="}},
            {"type": "overlay", "target": "/f", "lower": ["/x", "/y"], "upper": "/u", "work": "/w"},
            {"type": "mqueue", "target": "/g"},
        ],
        "scratch": {"numa_nodes": [0], "size_bytes": 4096},
        "dev": "minimal",
        "lxcfs": "off",
        "proc": "nestable",
        "user": {"map": "single", "uid": 5},
        "hostname": "h",
        "limits": {"cpus": 0.5, "cpuset": "0-1", "memory_bytes": 9223372036854775807, "address_space_bytes": 2**40, "processes": 5},
        "cgroup": {"parent": "/sys/fs/cgroup/jobs"},
        "fds": [7],
        "results": {"directory": "/r", "patterns": ["*", {"base64": "/w=="}], "max_files": 1},
        "strict": True,
    },
    {"argv": ["a"], "stdin": {"fd": 905}, "stdout": {"fd": 906}, "stderr": {"capture": {}}, "cgroup": "required", "init": False},
    {"argv": ["a"], "stdin": {"file": "/in"}, "sync": {"events_fd": 903, "control_fd": 904, "pause_before_exec": True, "pause_after_exit": True}},
    {"argv": ["a"], "stdin": "inherit", "stdout": "inherit", "stderr": "inherit", "seccomp": {"default_action": {"errno": 1}, "rules": []}},
    {
        "argv": ["a"],
        "seccomp": {
            "oci": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "defaultErrnoRet": None,
                "defaultErrno": "EPERM",
                "architectures": ["SCMP_ARCH_X86_64"],
                "archMap": None,
                "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                "syscalls": [
                    {"name": "read", "names": None, "action": "SCMP_ACT_ALLOW", "args": None, "comment": None},
                    {"names": ["write"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8", "arches": ["amd64"]}},
                    {"names": ["close"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "errno": "EPERM"},
                ],
            }
        },
    },
]
# What no change of one value gives.
WRONG: List[Any] = [
    {},
    {"cwd": "/"},
    {"argv": "true"},
    {"argv": ["a"], "stdin": {"text": "a", "base64": "AA=="}},
    {"argv": ["a"], "stdin": {}},
    {"argv": ["a"], "stdin": {"fd": 905, "file": "/a"}},
    {"argv": ["a"], "stdout": {"capture": {}, "file": "/a"}},
    {"argv": ["a"], "stderr": {"fd": 905, "append": True}},
    {"argv": ["a"], "seccomp": {"oci": {"defaultAction": "SCMP_ACT_ALLOW"}, "default_action": "allow", "rules": []}},
    {"argv": ["a"], "stdin": "stdout"},
    {"argv": ["a"], "stdout": "stdout"},
    {"argv": ["a"], "mounts": [{"type": "file", "target": "/a"}]},
    {"argv": ["a"], "mounts": [{"type": "file", "target": "/a", "text": "a", "base64": "AA=="}]},
    {"argv": ["a"], "mounts": [{"type": "tmpfs", "target": "/a", "source": "/b"}]},
    {"argv": ["a"], "mounts": [{"type": "bind", "target": "/a"}]},
    {"argv": ["a"], "mounts": {"type": "mqueue", "target": "/a"}},
    {"argv": ["a"], "scratch": {"directory": "/a", "size_bytes": 4096}},
    {"argv": ["a"], "directories": [["/", "overlay"]]},
    {"argv": ["a"], "directories": {"/": "rw"}},
    {"argv": ["a"], "seccomp": {"oci": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ALLOW"}]}}},
    {"argv": ["a"], "seccomp": {"oci": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": None, "names": None, "action": "SCMP_ACT_LOG"}]}}},
    {"argv": ["a"], "sync": {"control_fd": 4}},
    {"argv": ["a"], "limits": {"processes": None}},
    {"argv": ["a"], "cwd": None},
    {"argv": ["a"], "env": {"set": [["A", "b"]]}},
]
# Keys of these are the caller's choice.
MAPS = {"directories", "set"}


def mutants(value: Any, name: str = "") -> Iterator[Tuple[str, Any]]:
    """All copies of a value in which one thing is wrong, with the place of it."""
    if isinstance(value, dict):
        if name not in MAPS:
            yield "+nonesuch", {**value, "nonesuch": 1}
        for key, inner in value.items():
            for at, changed in mutants(inner, key):
                yield f"{key}/{at}", {**value, key: changed}
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            for at, changed in mutants(inner, name):
                yield f"{index}/{at}", [*value[:index], changed, *value[index + 1 :]]
        yield "array", "text"
    elif isinstance(value, str):
        yield "string", 7
        if name in WORDS:
            yield "word", "nonesuch"
    elif isinstance(value, bool):
        yield "boolean", "true"
    elif isinstance(value, (int, float)):
        yield "number", str(value)


def words() -> Set[str]:
    """Fields that are one of some words wherever they stand, or a map to such."""
    found: Dict[str, bool] = {"directories": True}

    def walk(schema: Any) -> None:
        if isinstance(schema, dict):
            for key, inner in schema.get("properties", {}).items():
                texts = [one for one in inner.get("anyOf", [inner]) if "enum" in one or "const" in one]
                texts += [one for one in inner.get("anyOf", []) if one.get("type") == "string"]
                refs = {one.get("$ref") for one in inner.get("anyOf", [inner])}
                one_of_words = bool(texts) or bool(refs & {"#/$defs/oci_action", "#/$defs/seccomp_action"})
                free = any(one.get("type") == "string" for one in inner.get("anyOf", [inner]) if "enum" not in one)
                found[key] = found.get(key, True) and one_of_words and not free
            for inner in schema.values():
                walk(inner)
        elif isinstance(schema, list):
            for inner in schema:
                walk(inner)

    walk(json.loads((ROOT / "schema" / "job.json").read_text()))
    # The mode of a directory is a word, that of a mount is a number.
    found["mode"] = False
    return {key for key, one_of_words in found.items() if one_of_words}


WORDS = words()


def check(job: Any) -> Any:
    """What stdbox makes of a job, with streams of its own."""
    read, write = os.pipe()
    with os.fdopen(write, "w") as pipe, os.fdopen(read) as end:
        with tempfile.TemporaryFile() as spec:
            spec.write(json.dumps(job).encode())
            spec.seek(0)
            arguments = [STDBOX, "check", f"--spec-fd={spec.fileno()}", f"--report-fd={pipe.fileno()}"]
            subprocess.run(arguments, pass_fds=[spec.fileno(), pipe.fileno()], check=False)
        pipe.close()
        return json.load(end)


def real_reports() -> List[Any]:
    """Reports of all kinds of ends."""
    with tempfile.TemporaryDirectory() as folder:
        jobs: List[Any] = [
            {"argv": ["true"]},
            {"argv": ["sh", "-c", "kill -9 $$"]},
            {"argv": ["sleep", "9"], "limits": {"wall_time_ms": 20}},
            {"argv": ["printf", "\\377"], "stderr": "null"},
            {"argv": ["nonesuch"]},
            {"argv": ["true"], "network": "some"},
            {"argv": ["true"], "directories": {"/": "read-only", "/proc": "hidden"}},
            {"argv": ["sh", "-c", "echo a > /tmp/a; ln -s a /tmp/b; rm /etc/hosts"], "changes": True},
            {"argv": ["sh", "-c", "echo a > a; ln -s a b; touch $(printf '\\377')"], "cwd": "/tmp", "results": {"directory": f"{folder}/out"}},
            {"argv": ["true"], "limits": {"cpu_time_ms": 1000}, "capabilities": ["CAP_NET_RAW"]},
        ]
        reports = []
        for job in jobs:
            text = json.dumps({"cwd": "/", "id": "x", **job}).encode()
            reports.append(json.loads(subprocess.run([STDBOX], input=text, stdout=subprocess.PIPE, check=False).stdout))
    outcomes = {report["outcome"] for report in reports}
    assert outcomes == {"exited", "signaled", "limit-exceeded", "setup-failed", "invalid-job"}, outcomes
    return [*reports, *map(check, EXAMPLES.values())]


def real_events() -> List[Any]:
    """Events of jobs with a scratch space in memory and on a disk."""
    events: List[Any] = []
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        for scratch in ({}, {"directory": folder}):
            read, write = os.pipe()
            with os.fdopen(write, "w") as told, os.fdopen(read) as end:
                job = {"argv": ["true"], "cwd": "/", "scratch": scratch, "sync": {"events_fd": told.fileno()}}
                subprocess.run(
                    [STDBOX], input=json.dumps(job).encode(), stdout=subprocess.PIPE, pass_fds=[told.fileno()], check=False
                )
                told.close()
                events += map(json.loads, end)
    assert [event["event"] for event in events] == ["ready", "exited"] * 2, events
    return events


Errors = Dict[int, str]


def python_errors(lines: List[str]) -> Errors:
    """The lines of a module with the client's types that mypy refuses, counted from 0, and why."""
    head = "import stdbox\nfrom stdbox.types import *"
    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder) / "module.py"
        module.write_text("\n".join([head, *lines, ""]))
        environment = {**os.environ, "PYTHONPATH": MYPY, "MYPYPATH": str(CLIENTS / "python")}
        arguments = ["--strict", "--cache-dir", os.environ["MYPY_CACHE"], "--python-version", "3.10", "--hide-error-context"]
        arguments += ["--no-error-summary", "--no-pretty", "--disable-error-code", "no-redef", str(module)]
        found = subprocess.run([sys.executable, "-m", "mypy", *arguments], env=environment, capture_output=True, text=True, check=False)
    errors = [line for line in found.stdout.splitlines() if ": error:" in line]
    elsewhere = [line for line in errors if not line.startswith(str(module))]
    assert found.returncode in (0, 1) and not found.stderr and not elsewhere, found.stdout[-2000:] + found.stderr
    return {int(line[len(str(module)) :].split(":")[1]) - 3: line for line in errors}


def typescript_errors(lines: List[str]) -> Errors:
    """The same for TypeScript."""
    head = f'import type * as types from {json.dumps(str(CLIENTS / "node" / "types.js"))};\ntype Job = types.Job; type Report = types.Report; type Event = types.Event;'
    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder) / "module.ts"
        module.write_text("\n".join([head, *lines, ""]))
        arguments = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--pretty", "false", "--target", "es2022"]
        arguments += ["--module", "node16", str(module)]
        found = subprocess.run(["node", TSC, *arguments], capture_output=True, text=True, cwd=folder, check=False)
    errors = [line for line in found.stdout.splitlines() if "error TS" in line]
    elsewhere = [line for line in errors if not line.startswith("module.ts(")]
    assert found.returncode in (0, 1, 2) and not found.stderr and not elsewhere, found.stdout[-2000:] + found.stderr
    return {int(line[len("module.ts(") :].split(",")[0]) - 3: line for line in errors}


def in_python(kind: str, values: List[Any]) -> List[str]:
    return [f"{kind.lower()}_{index}: {kind} = {value!r}" for index, value in enumerate(values)]


def in_typescript(kind: str, values: List[Any]) -> List[str]:
    def wide(value: Any) -> str:
        """JSON, with the numbers that JavaScript cannot have as such."""
        if isinstance(value, dict):
            return "{" + ",".join(f"{json.dumps(key)}:{wide(inner)}" for key, inner in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ",".join(map(wide, value)) + "]"
        return f"{value}n" if isinstance(value, int) and abs(value) > 2**53 else json.dumps(value)

    return [f"export const {kind.lower()}_{index}: {kind} = {wide(value)};" for index, value in enumerate(values)]


class Types(unittest.TestCase):
    def refused(self, lines: List[str], errors: Callable[[List[str]], Errors]) -> None:
        accepted = [lines[index] for index in sorted(set(range(len(lines))) - set(errors(lines)))]
        self.assertEqual(accepted, [], f"{len(accepted)} of {len(lines)} are accepted")

    def accepted(self, lines: List[str], errors: Callable[[List[str]], Errors]) -> None:
        wrong = sorted(errors(lines).values())
        self.assertEqual(wrong, [], f"{len(wrong)} of {len(lines)} are refused")

    def test_right_jobs_and_real_reports_are_accepted(self) -> None:
        jobs, reports = [*EXAMPLES.values(), *FULL], real_reports()
        self.accepted([*in_python("Job", jobs), *in_python("Report", reports)], python_errors)
        self.accepted([*in_typescript("Job", jobs), *in_typescript("Report", reports)], typescript_errors)
        events = real_events()
        self.accepted(in_python("Event", events), python_errors)
        self.accepted(in_typescript("Event", events), typescript_errors)
        wrong = [{**event, "more": 1} for event in events] + [{"event": "ready", "pid": 1}, {"event": "other"}]
        self.refused(in_python("Event", wrong), python_errors)
        self.refused(in_typescript("Event", wrong), typescript_errors)

    def test_the_jobs_here_are_right_for_stdbox_and_have_all_fields(self) -> None:
        for job in FULL:
            report = check(job)
            code = report["error"] and report["error"]["code"]
            # The descriptors are not open here.
            self.assertIn(code, (None, "bad-descriptor"), report["error"])
        schema = json.loads((ROOT / "schema" / "job.json").read_text())
        used = {key for job in [*EXAMPLES.values(), *FULL] for key in job}
        self.assertEqual(set(schema["properties"]) - used, set())

    def test_wrong_jobs_are_refused_as_they_are_by_stdbox(self) -> None:
        wrong = list(WRONG)
        for job in [*EXAMPLES.values(), *FULL]:
            wrong += [changed for _, changed in mutants(job)]
        wrong = list({json.dumps(job): job for job in wrong}.values())
        self.assertGreater(len(wrong), 400)
        taken = [job for job in wrong if check(job)["outcome"] != "invalid-job"]
        self.assertEqual(list(map(json.dumps, taken)), [])
        self.refused(in_python("Job", wrong), python_errors)
        self.refused(in_typescript("Job", wrong), typescript_errors)

    def test_what_a_python_program_may_write(self) -> None:
        self.accepted(
            [
                "def f(report: Report, words: List[str]) -> bytes:",
                "    job: Job = {'argv': words, 'env': {'inherit': words}}",
                "    stdbox.run({'argv': ('a', stdbox.encode(b'b')), 'fds': (3, 4), 'mounts': [{'type': 'mqueue', 'target': '/a'}]}, timeout=1)",
                "    job['cwd'] = stdbox.encode(b'/')",
                "    out = report['stdout']",
                "    if out is not None and 'text' in out: return out['text'].encode()",
                "    if report['outcome'] == 'exited' and report['error'] is None: return b''",
                "    return stdbox.output(report['stderr'])",
            ],
            lambda lines: python_errors(["from typing import List", *lines]),
        )

    def test_what_a_python_program_may_not_write(self) -> None:
        self.refused(
            [
                "def f1(report: Report) -> None: report['exitcode']",
                "def f2(report: Report) -> bool: return report['outcome'] == 'failed'",
                "def f3(report: Report) -> str: return report['error']['code']",
                "def f4(report: Report) -> str: return report['stdout']['text']",
                "def f5() -> None: stdbox.run({'argv': ['a'], 'cwd': b'/'})",
                "def f6() -> None: stdbox.run({'argv': ['a']}, time_out=5)",
                "def f7() -> None: stdbox.run({'argv': ['a']}, stdin='text')",
                "def f8(error: stdbox.JobError) -> bool: return error.code == 'nonesuch'",
            ],
            python_errors,
        )


class Generator(unittest.TestCase):
    def setUp(self) -> None:
        self.schemas = {name: json.loads((ROOT / "schema" / f"{name}.json").read_text()) for name in ("job", "report", "event")}

    def generate(self) -> Dict[Path, str]:
        with tempfile.TemporaryDirectory() as folder:
            for name, schema in self.schemas.items():
                (Path(folder) / f"{name}.json").write_text(json.dumps(schema))
            return generate.generate(Path(folder))

    def test_the_files_are_what_the_schemas_give(self) -> None:
        for path, text in self.generate().items():
            self.assertEqual(path.read_text(), text, f"{path}: run tests/clients/types/generate.py")

    def test_what_it_does_not_know_is_an_error(self) -> None:
        properties, definitions = self.schemas["job"]["properties"], self.schemas["job"]["$defs"]
        cases: List[Tuple[str, Callable[[], object]]] = [
            ("['not']", lambda: properties["id"].update({"not": {"const": "x"}})),
            ("['format']", lambda: properties["id"].update(format="uri")),
            ("no type", lambda: properties.update(anything={})),
            ("no type", lambda: properties.update(anything={"description": "Anything.", "minimum": 1})),
            ("must list its fields", lambda: properties["env"].update(additionalProperties=True)),
            ("must list its fields", lambda: properties["env"].pop("additionalProperties")),
            ("must list its fields", lambda: properties.update(anything={"type": "object"})),
            ("['patternProperties']", lambda: properties["env"].update(patternProperties={})),
            ("['dependentRequired']", lambda: properties["sync"].update(dependentRequired={"a": ["b"]})),
            ("['if', 'then']", lambda: properties["sync"].update({"if": {}, "then": {}})),
            ("['contains']", lambda: properties["fds"].update(contains={})),
            ("another type", lambda: properties["argv"].update(prefixItems=[{"type": "integer"}])),
            ("no type", lambda: properties["id"].pop("type") and properties["id"].update(allOf=[{"type": "string"}, {"type": "integer"}])),
            ("['minLength2']", lambda: definitions["path"].update(minLength2=1)),
            ("not in this schema's $defs", lambda: properties["cwd"].update({"$ref": "other.json"})),
            ("needs itself", lambda: definitions["path"]["anyOf"].append({"$ref": "#/$defs/path"})),
            ("cannot be a name", lambda: properties.update({"class": {"type": "string"}})),
            ("cannot be a name", lambda: properties.update({"a-b": {"type": "string"}})),
            ("name of something else", lambda: definitions["path"]["anyOf"][1]["properties"].update(more={"type": "string"})),
            ("the tables name", lambda: properties.pop("scratch")),
            ("needed", lambda: definitions["mount"]["oneOf"][2]["oneOf"].append({"required": ["text", "mode"]})),
            ("may say the type", lambda: definitions["mount"]["oneOf"][2]["oneOf"][0].update(properties={"text": {"minLength": 1}})),
            ("is not a condition", lambda: self.schemas["report"]["allOf"].append({"required": ["id"]})),
        ]
        for words, change in cases:
            before = copy.deepcopy(self.schemas)
            with self.subTest(words):
                change()
                with self.assertRaises(generate.Unknown) as caught:
                    self.generate()
                self.assertIn(words, str(caught.exception))
            self.schemas = before
            properties, definitions = self.schemas["job"]["properties"], self.schemas["job"]["$defs"]

    def test_a_new_field_is_in_both_files(self) -> None:
        self.schemas["job"]["properties"]["brand_new"] = {"description": "New \"\"\" */ text.", "type": ["string", "null"], "maxLength": 5}
        texts = list(self.generate().values())
        self.assertIn("    brand_new: Union[str, None]\n", texts[0])
        self.assertIn("  brand_new?: string | null;\n", texts[1])
        compile(texts[0], "types.py", "exec")
        self.assertIn("*\\/ text.", texts[1])

    def test_check_fails_with_a_diff_and_changes_nothing(self) -> None:
        program = str(CLIENTS / "types" / "generate.py")
        self.assertEqual(subprocess.run([sys.executable, program, "--check"], check=False).returncode, 0)
        with tempfile.TemporaryDirectory() as folder:
            copied = Path(folder) / "a b" / "tests" / "clients" / "types" / "generate.py"
            for path in (Path(program), generate.PYTHON, generate.TYPESCRIPT, *(ROOT / "schema").glob("*.json")):
                to = Path(folder) / "a b" / path.relative_to(ROOT)
                to.parent.mkdir(parents=True, exist_ok=True)
                to.write_bytes(path.read_bytes())
            types = copied.parents[1] / "python" / "stdbox" / "types.py"
            stale = types.read_text().replace("Job(", "Jobs(")
            types.write_text(stale)
            found = subprocess.run([sys.executable, str(copied), "--check"], stderr=subprocess.PIPE, text=True, check=False)
            self.assertEqual(found.returncode, 1)
            self.assertIn("+class Job(_JobRequired, total=False):", found.stderr)
            self.assertEqual(types.read_text(), stale)
            self.assertEqual(subprocess.run([sys.executable, str(copied)], check=False).returncode, 0)
            self.assertEqual(types.read_text(), generate.PYTHON.read_text())


if __name__ == "__main__":
    unittest.main()
