#!/usr/bin/env python3
"""Writes the clients' types from the schemas: ../python/stdbox/types.py and ../node/types.d.ts.

    generate.py          write both files
    generate.py --check  change nothing, and fail with a diff where a file is not what the schemas give

A job that is built in a program should be refused by the type checker where stdbox would refuse its shape. So a keyword of
JSON Schema that has no place below is an error here: a type that is wider than the schema is only written where that was
decided, in the tables below.
"""

from __future__ import annotations

import difflib
import json
import keyword
import re
import sys
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Iterator, Union

HERE = Path(__file__).resolve().parent
SCHEMAS = HERE.parents[2] / "schema"
PYTHON = HERE.parent / "python" / "stdbox" / "types.py"
TYPESCRIPT = HERE.parent / "node" / "types.d.ts"
WIDTH = 100

# Names that the schema's own words do not give. Several places may share one, if they are the same.
NAMES = {
    "job#/$defs/path/anyOf/1": "Base64",
    "job#/$defs/absolute_path/anyOf/1": "Base64",
    "job#/$defs/argument/anyOf/1": "Base64",
    "job#/$defs/command/anyOf/1": "Base64",
    "job#/$defs/variable/anyOf/1": "Base64",
    "job#/$defs/base64": "Base64Text",
    "job#/$defs/capture/properties/capture": "CaptureOptions",
    "job#/properties/directories/anyOf/1/items": "DirectoryMode",
    "job#/properties/scratch/oneOf/0": "ScratchMemory",
    "job#/properties/seccomp/anyOf/2": "SeccompFilter",
    "job#/properties/seccomp/anyOf/2/properties/rules/items": "SeccompRule",
    "job#/properties/seccomp/anyOf/2/properties/rules/items/properties/args/items": "SeccompCondition",
    "job#/$defs/oci_seccomp/properties/archMap/items": "OciArchitectureMap",
    "job#/$defs/oci_seccomp/properties/syscalls/items": "OciRule",
    "job#/$defs/oci_seccomp/properties/syscalls/items/properties/args/items": "OciArgument",
    "report#/$defs/base64": "Base64Text",
    "report#/$defs/path/anyOf/1": "Base64",
    "report#/$defs/captured_or_null/anyOf/0": "Captured",
    "report#/properties/rusage": "Rusage",
    "report#/properties/usage": "Usage",
    "report#/properties/timing": "Timing",
    "report#/properties/results/anyOf/0": "Results",
    "report#/properties/results/anyOf/0/properties/files/items": "ResultFile",
    "report#/properties/results/anyOf/0/properties/skipped/items": "SkippedFile",
    "report#/properties/changes/anyOf/0/items": "Change",
    "event#/$defs/base64": "Base64Text",
    "event#/$defs/ready": "Ready",
    "event#/$defs/exited": "Exited",
    "event#/$defs/ready/properties/scratch/oneOf/1": "Base64",
    "event#/$defs/exited/properties/rusage": "Rusage",
}
# Schemas that stand for another one.
SAME_AS = {"report#/properties/job": "Job"}
# Fields that depend on the value of another one. The types hold what is true of every report; a program that has looked at
# `outcome` knows more than its type checker.
CONDITIONAL = {"report#"}

ANNOTATIONS = {"$schema", "$id", "title", "description", "default"}
# These narrow the values of a type, and no type of the two languages says so.
CONSTRAINTS = {
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "minItems",
    "maxItems",
    "uniqueItems",
    "propertyNames",
}
SAFE_INTEGER = 2**53 - 1

Schema = dict[str, Any]


class Unknown(Exception):
    """The schemas have something that these types cannot say."""


@dataclass(frozen=True)
class Scalar:
    """A string, number, boolean or null."""

    python: str
    typescript: str


@dataclass(frozen=True)
class Words:
    """One of these values."""

    values: tuple[Union[str, int], ...]


@dataclass(frozen=True)
class Name:
    """A type that is declared elsewhere in the file."""

    name: str


@dataclass(frozen=True)
class Array:
    """A list; what a caller writes may be a tuple too."""

    item: Type
    given: bool
    strings: bool


@dataclass(frozen=True)
class Map:
    """An object with keys of the caller's choice."""

    value: Type
    given: bool


@dataclass(frozen=True)
class Either:
    """One of several types."""

    members: tuple[Type, ...]


Type = Union[Scalar, Words, Name, Array, Map, Either]

STRING = Scalar("str", "string")
NULL = Scalar("None", "null")
SCALARS = {
    "string": STRING,
    "number": Scalar("float", "number"),
    "boolean": Scalar("bool", "boolean"),
    "null": NULL,
}
INTEGER = Scalar("int", "number")
WIDE_INTEGER = Scalar("int", "number | bigint")


@dataclass(frozen=True)
class Field:
    """One key of an object."""

    name: str
    type: Type
    required: bool
    text: str


@dataclass(frozen=True)
class Struct:
    """An object with these keys and no others."""

    name: str
    text: str
    fields: tuple[Field, ...]
    variant: bool
    # Fields of those that may stand in its place.
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Alias:
    """A name for a type."""

    name: str
    text: str
    type: Type


Declaration = Union[Struct, Alias]


def camel(words: str) -> str:
    """size_bytes and read-only as SizeBytes and ReadOnly."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[_-]", words))


def either(members: Iterator[Type]) -> Type:
    """A union, flat, with all words in one place."""
    flat: list[Type] = []
    words: list[Union[str, int]] = []
    for member in members:
        for part in member.members if isinstance(member, Either) else (member,):
            if isinstance(part, Words):
                words.extend(part.values)
            elif part not in flat:
                flat.append(part)
    if words:
        flat.insert(0, Words(tuple(words)))
    return flat[0] if len(flat) == 1 else Either(tuple(flat))


class Reader:
    """Reads one schema into declarations, each after those that it needs."""

    def __init__(self, title: str, schema: Schema, declarations: dict[str, Declaration]) -> None:
        self.title = title
        self.root = schema
        self.declarations = declarations
        self.refs: dict[str, Name] = {}
        self.used: set[str] = set()

    def read(self) -> None:
        """Declares the schema itself, with all that it needs."""
        name, at = camel(self.title), self.title + "#"
        found = self.type(self.root, at, name)
        if found != Name(name):
            self.declare(Alias(name, self.text(self.root), found), at)
        tables = set(NAMES) | set(SAME_AS) | CONDITIONAL
        unused = {at for at in tables if at.split("#")[0] == self.title} - self.used
        if unused:
            raise Unknown(f"the tables name what the schema does not have: {sorted(unused)}")

    def type(self, schema: Schema, at: str, name: str) -> Type:
        """The type of a schema; `name` is for an object that has to be declared."""
        if at in SAME_AS:
            self.used.add(at)
            return Name(SAME_AS[at])
        if at in NAMES:
            self.used.add(at)
            name = NAMES[at]
        if "$ref" in schema:
            self.only(schema, at, {"$ref"})
            return self.ref(schema["$ref"], at)
        if "const" in schema:
            self.only(schema, at, {"const", "type"})
            return Words((schema["const"],))
        if "enum" in schema:
            self.only(schema, at, {"enum", "type"})
            return Words(tuple(schema["enum"]))
        kind = schema.get("type")
        if isinstance(kind, list):
            return either(self.type({**schema, "type": one}, at, name) for one in kind)
        if kind == "object":
            return self.object(schema, at, name)
        if kind == "array":
            return self.array(schema, at, name)
        if kind == "integer":
            self.only(schema, at, {"type"})
            return WIDE_INTEGER if schema.get("maximum", 0) > SAFE_INTEGER else INTEGER
        if kind in SCALARS:
            # The keywords of one kind say nothing of the others: {"type": ["array", "null"], "items": …}.
            self.only(schema, at, {"type", "items"} if kind == "null" else {"type"})
            return SCALARS[kind]
        for key in ("anyOf", "oneOf"):
            if kind is None and key in schema:
                self.only(schema, at, {key, "$defs"} if at.endswith("#") else {key})
                places = ((one, f"{at}/{key}/{i}") for i, one in enumerate(schema[key]))
                return self.apart(either(self.type(one, place, name + self.label(one)) for one, place in places))
        if kind is None and "allOf" in schema:
            self.only(schema, at, {"allOf"})
            typed = [i for i, one in enumerate(schema["allOf"]) if set(one) - CONSTRAINTS]
            if len(typed) == 1:
                return self.type(schema["allOf"][typed[0]], f"{at}/allOf/{typed[0]}", name)
        raise Unknown(f"{at}: no type can be read out of {json.dumps(schema)[:200]}")

    def only(self, schema: Schema, at: str, keys: set[str]) -> None:
        """Refuses keywords that nobody looks at."""
        unknown = set(schema) - keys - ANNOTATIONS - CONSTRAINTS
        if unknown:
            raise Unknown(f"{at}: the keywords {sorted(unknown)} have no meaning here")

    def label(self, schema: Schema) -> str:
        """What tells one alternative from the others: its `type`, else the first key that it needs."""
        kind = schema.get("properties", {}).get("type", {}).get("const")
        return camel(str(kind or next(iter(schema.get("required", [""])))))

    def ref(self, ref: str, at: str) -> Type:
        if not ref.startswith("#/$defs/"):
            raise Unknown(f"{at}: {ref} is not in this schema's $defs")
        key = ref[len("#/$defs/") :]
        place = f"{self.title}#/$defs/{key}"
        if place not in self.refs:
            schema = self.root["$defs"][key]
            name = NAMES.get(place, camel(key))
            # Before its parts are read: a schema that needs itself would be declared in no order.
            self.refs[place] = Name("")
            found = self.type(schema, place, name)
            if found != Name(name):
                self.declare(Alias(name, self.text(schema), found), place)
            self.refs[place] = Name(name)
        if not self.refs[place].name:
            raise Unknown(f"{at}: {ref} needs itself")
        return self.refs[place]

    def resolve(self, kind: Type) -> Type:
        """The type that a chain of names stands for."""
        while isinstance(kind, Name):
            declared = self.declarations[kind.name]
            if isinstance(declared, Struct):
                break
            kind = declared.type
        if isinstance(kind, Either):
            return either(self.resolve(member) for member in kind.members)
        return kind

    def array(self, schema: Schema, at: str, name: str) -> Type:
        self.only(schema, at, {"type", "items", "prefixItems"})
        item = self.type(schema["items"], f"{at}/items", name + "Item")
        for i, first in enumerate(schema.get("prefixItems", [])):
            place = f"{at}/prefixItems/{i}"
            if self.resolve(self.type(first, place, name + "Item")) != self.resolve(item):
                raise Unknown(f"{place}: is of another type than the other items")
        parts = self.resolve(item)
        return Array(item, self.title == "job", STRING in (parts.members if isinstance(parts, Either) else (parts,)))

    def object(self, schema: Schema, at: str, name: str) -> Type:
        more = schema.get("additionalProperties")
        if "properties" not in schema and isinstance(more, dict):
            self.only(schema, at, {"type", "additionalProperties"})
            return Map(self.type(more, f"{at}/additionalProperties", name + "Value"), self.title == "job")
        keys = {"type", "properties", "required", "additionalProperties", "oneOf"}
        if at in CONDITIONAL:
            self.used.add(at)
            keys |= {"allOf", "$defs"}
            for i, one in enumerate(schema["allOf"]):
                if not {"if", "then"} <= set(one) <= {"if", "then", "else"}:
                    raise Unknown(f"{at}/allOf/{i}: is not a condition")
        elif at.endswith("#"):
            keys.add("$defs")
        self.only(schema, at, keys)
        if "properties" not in schema or more is not False:
            raise Unknown(f"{at}: an object must list its fields and have no others")
        if "oneOf" in schema:
            return self.variants(schema, at, name)
        required = set(schema.get("required", []))
        fields = tuple(self.field(key, schema, at, name, key in required) for key in schema["properties"])
        return self.declare(Struct(name, self.text(schema), fields, False), at)

    def field(self, key: str, schema: Schema, at: str, name: str, required: bool) -> Field:
        if not key.isidentifier() or keyword.iskeyword(key):
            raise Unknown(f"{at}: {key} cannot be a name in a program")
        value = schema["properties"][key]
        kind = self.type(value, f"{at}/properties/{key}", name + camel(key))
        return Field(key, kind, required, self.text(value))

    def variants(self, schema: Schema, at: str, name: str) -> Type:
        """An object of which exactly one of several keys must be there: one declaration for each."""
        wanted: dict[str, Union[str, None]] = {}
        for i, one in enumerate(schema["oneOf"]):
            keys = one.get("required", [])
            if len(keys) != 1 or set(one) - {"required", "properties"}:
                raise Unknown(f"{at}/oneOf/{i}: must name one key that is needed")
            inside = one.get("properties", {keys[0]: {}})
            if set(inside) != set(keys) or set(inside[keys[0]]) - {"type"}:
                raise Unknown(f"{at}/oneOf/{i}: may say the type of {keys[0]}, and nothing else")
            wanted[keys[0]] = inside[keys[0]].get("type")
        names = []
        for key in wanted:
            fields = []
            for other in schema["properties"]:
                field = self.field(other, schema, at, name, other in schema.get("required", []) or other == key)
                if other in wanted and wanted[other]:
                    # Where a null stands for a key that is left out, it may stand beside the other key.
                    parts = self.resolve(field.type)
                    members = parts.members if isinstance(parts, Either) else (parts,)
                    kept = [part for part in members if (part == NULL) == (other != key)]
                    if len(kept) != 1 or len(members) != 2:
                        raise Unknown(f"{at}/properties/{other}: is not a type or null")
                    fields.append(replace(field, type=kept[0]))
                elif other not in wanted or other == key:
                    fields.append(field)
            struct = Struct(name + camel(key), self.text(schema), tuple(fields), True)
            names.append(self.declare(struct, at))
        self.declare(Alias(name, self.text(schema), self.apart(Either(tuple(names)))), at)
        return Name(name)

    def apart(self, kind: Type) -> Type:
        """Notes in the objects of a union what each must not have; to TypeScript an object of two of them at once is one."""
        members = kind.members if isinstance(kind, Either) else ()
        found = [self.declarations[member.name] for member in members if isinstance(member, Name)]
        structs = [declared for declared in found if isinstance(declared, Struct)]
        keys = {field.name: None for struct in structs for field in struct.fields}
        for struct in structs if self.title == "job" else []:
            own = {field.name for field in struct.fields}
            others = {key: None for key in (*struct.others, *keys) if key not in own}
            self.declarations[struct.name] = replace(struct, others=tuple(others))
        return kind

    def declare(self, declaration: Declaration, at: str) -> Name:
        old = self.declarations.setdefault(declaration.name, declaration)
        if not same(old, declaration):
            raise Unknown(f"{at}: {declaration.name} is the name of something else already")
        return Name(declaration.name)

    def text(self, schema: Schema) -> str:
        """The description, with those of the words that may stand there."""
        texts = [schema["description"]] if "description" in schema else []
        for one in schema.get("oneOf", []):
            if "const" in one and "description" in one:
                texts.append(f"{json.dumps(one['const'])}: {one['description']}")
        return "\n".join(texts)


def same(one: Declaration, other: Declaration) -> bool:
    """Whether two declarations differ in their texts at most."""

    def bare(declaration: Declaration) -> Declaration:
        if isinstance(declaration, Alias):
            return replace(declaration, text="")
        fields = tuple(replace(field, text="") for field in declaration.fields)
        return replace(declaration, text="", fields=fields, others=())

    return bare(one) == bare(other)


def wrapped(text: str, indent: str, first: str = "", last: str = "") -> str:
    """The text in lines, each with the indent, between two marks."""
    lines: list[str] = []
    for paragraph in (first + text + last).split("\n"):
        lines += textwrap.wrap(paragraph, WIDTH - len(indent), break_long_words=False, break_on_hyphens=False)
    return "".join(f"{indent}{line}\n" for line in lines)


class Python:
    """Writes declarations as a module."""

    HEAD = '''"""The types of jobs and reports. Written by tests/clients/types/generate.py out of schema/: change those."""

from typing import Dict, Iterator, List, Literal, Mapping, Protocol, Tuple, TypedDict, TypeVar, Union, final

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Array = Union[List[T], Tuple[T, ...]]
"""What JSON has as an array."""


class Strings(Protocol[T_co]):
    """An array in which strings may stand, such as a list of strings. A Sequence would be too much: a string is one, too."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[T_co]: ...
    def __contains__(self, value: object, /) -> bool: ...
    def __getitem__(self, index: int, /) -> T_co: ...

'''

    def file(self, declarations: dict[str, Declaration]) -> str:
        names = "".join(f'    "{name}",\n' for name in sorted(declarations))
        return "\n".join([self.HEAD, f"__all__ = [\n{names}]\n", *map(self.declaration, declarations.values())])

    def docstring(self, text: str, indent: str) -> str:
        quoted = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
        if quoted.endswith('"'):
            quoted = quoted[:-1] + '\\"'
        return wrapped(quoted, indent, '"""', '"""') if text else ""

    def declaration(self, declared: Declaration) -> str:
        if isinstance(declared, Alias):
            return f"{declared.name} = {self.type(declared.type)}\n{self.docstring(declared.text, '')}"
        required = [field for field in declared.fields if field.required]
        optional = [field for field in declared.fields if not field.required]
        head, base = "", "TypedDict"
        if required and optional:
            base = f"_{declared.name}Required"
            head = f"\nclass {base}(TypedDict):\n{self.fields(required)}\n"
        total = ", total=False" if optional else ""
        # A type checker can tell variants apart by a key only if no other class may add that key.
        mark = "@final\n" if declared.variant else ""
        body = self.docstring(declared.text, "    ") + self.fields(optional or required)
        return f"{head}\n{mark}class {declared.name}({base}{total}):\n{body}"

    def fields(self, fields: list[Field]) -> str:
        return "".join(
            f"    {field.name}: {self.type(field.type)}\n{self.docstring(field.text, '    ')}" for field in fields
        )

    def type(self, kind: Type) -> str:
        if isinstance(kind, Scalar):
            return kind.python
        if isinstance(kind, Words):
            words = [json.dumps(value) for value in kind.values]
            lines = "".join(f"\n    {word}," for word in words) + "\n" if len(words) > 8 else ", ".join(words)
            return f"Literal[{lines}]"
        if isinstance(kind, Name):
            return kind.name
        if isinstance(kind, Map):
            return f"{'Mapping' if kind.given else 'Dict'}[str, {self.type(kind.value)}]"
        if isinstance(kind, Either):
            return f"Union[{', '.join(map(self.type, kind.members))}]"
        return f"{('Strings' if kind.strings else 'Array') if kind.given else 'List'}[{self.type(kind.item)}]"


class TypeScript:
    """Writes declarations as a module of declarations."""

    HEAD = "// The types of jobs and reports. Written by tests/clients/types/generate.py out of schema/: change those.\n"

    def file(self, declarations: dict[str, Declaration]) -> str:
        return "\n".join([self.HEAD, *map(self.declaration, declarations.values())])

    def comment(self, text: str, indent: str) -> str:
        if not text:
            return ""
        lines = wrapped(text.replace("*/", "*\\/"), indent + " * ")
        return f"{indent}/**\n{lines}{indent} */\n"

    def declaration(self, declared: Declaration) -> str:
        head = self.comment(declared.text, "") + "export "
        if isinstance(declared, Alias):
            return f"{head}type {declared.name} = {self.type(declared.type)};\n"
        fields = "".join([*map(self.field, declared.fields), *(f"  {key}?: never;\n" for key in declared.others)])
        return f"{head}interface {declared.name} {{\n{fields}}}\n"

    def field(self, field: Field) -> str:
        mark = "" if field.required else "?"
        return f"{self.comment(field.text, '  ')}  {field.name}{mark}: {self.type(field.type)};\n"

    def type(self, kind: Type) -> str:
        if isinstance(kind, Scalar):
            return kind.typescript
        if isinstance(kind, Words):
            return " | ".join(json.dumps(value) for value in kind.values)
        if isinstance(kind, Name):
            return kind.name
        if isinstance(kind, Map):
            return f"{{ {'readonly ' if kind.given else ''}[key: string]: {self.type(kind.value)} }}"
        if isinstance(kind, Either):
            return " | ".join(map(self.type, kind.members))
        item = self.type(kind.item)
        item = f"({item})" if " " in item else item
        return f"readonly {item}[]" if kind.given else f"{item}[]"


def generate(schemas: Path) -> dict[Path, str]:
    """Both files' contents."""
    declarations: dict[str, Declaration] = {}
    for title in ("job", "report", "event"):
        schema = json.loads((schemas / f"{title}.json").read_text())
        Reader(title, schema, declarations).read()
    return {PYTHON: Python().file(declarations), TYPESCRIPT: TypeScript().file(declarations)}


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: generate.py [--check]", file=sys.stderr)
        return 2
    try:
        files = generate(SCHEMAS)
    except Unknown as error:
        print(f"generate.py: {error}", file=sys.stderr)
        return 1
    stale = 0
    for path, new in files.items():
        old = path.read_text() if path.exists() else ""
        if arguments and old != new:
            names = (str(path), "what the schemas give")
            sys.stderr.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), *names))
            stale = 1
        elif old != new:
            path.write_text(new)
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
